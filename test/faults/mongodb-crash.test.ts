/** A process ends between two writes of an operation: who opens the database next finds heads, lists and unread right. */
import t from 'tap'
import type { Test } from 'tap'
import type { Operation, Store } from '../../broker/store/store.ts'
import { openMongoStore } from '../../broker/store/mongodb/store.ts'
import type { FaultPlace } from '../../broker/store/mongodb/store.ts'
import { direct, group, join, message, unread } from '../contract/operations.ts'
import { mongodbServer } from '../support/mongodb.ts'
import type { MongodbServer } from '../support/mongodb.ts'

t.setTimeout(300_000)
const server = await mongodbServer(t)
if (server !== undefined) await tests(server)

async function tests (server: MongodbServer): Promise<void> {
  let made = 0
  /** A store that ends at a place once it is armed, and another process that opens the same database. */
  const world = async (t: Test): Promise<{ store: Store, arm: (place: FaultPlace, nth?: number) => void, other: () => Promise<Store> }> => {
    const options = { url: server.url, database: `${server.database}_${++made}`, timeoutMs: 20_000 }
    let armed: FaultPlace | undefined
    let left = 0
    const at = (place: FaultPlace): void => {
      if (place !== armed || --left > 0) return
      throw new Error(`the process ended at '${place}'`)
    }
    const store = await openMongoStore({ ...options, faults: { at } })
    t.teardown(() => store.close())
    return {
      store,
      arm: (place, nth = 1) => {
        armed = place
        left = nth
      },
      other: async () => {
        const opened = await openMongoStore(options)
        t.teardown(() => opened.close())
        return opened
      }
    }
  }

  /** Heads, members and unread are what the messages say. */
  const check = async (t: Test, store: Store, conv: string, users: readonly string[]): Promise<void> => {
    // The list first: nothing else has touched the conversation.
    for (const user of users) {
      const [row] = await store.memberships(user, { limit: 9 })
      const log = await store.messages(conv, { limit: 1000 })
      t.same(log.map(m => m.seq), log.map((_, i) => i + 1), 'no gap')
      const last = log.at(-1)
      if (last === undefined) {
        if (conv.startsWith('d:')) t.equal(row, undefined, `an empty conversation is in nobody's list (${user})`)
        continue
      }
      t.match(await store.heads([conv]), [{ seq: last.seq, n: last.n, ts: last.ts }])
      t.equal(row?.conv, conv)
      const own = log.findLast(m => m.from === user)?.seq ?? 0
      t.equal(row?.readSeq, own, `${user} has read up to the own last message`)
      t.equal(await unread(store, user, conv), log.filter(m => m.counts && m.seq > own).length)
      t.same(await store.member(user, conv), row)
    }
  }

  for (const place of ['members before insert', 'insert', 'inserted', 'derived'] as const) {
    for (const earlier of [0, 3]) {
      await t.test(`a message, ended at '${place}', ${earlier} before it`, async t => {
        const { store, arm, other } = await world(t)
        for (let i = 0; i < earlier; i++) await store.commit([message(direct, i % 2 === 0 ? 'alice' : 'bob')])
        arm(place)
        const ops = [message(direct, 'bob', { cid: 'x' }), message(direct, 'alice', { cid: 'a' }), message(direct, 'alice', { cid: 'b', counts: false })]
        const [out] = await Promise.allSettled([store.commit(ops)])
        const open = place === 'members before insert' && earlier > 0
        t.equal(out?.status, place === 'derived' || open ? 'fulfilled' : 'rejected')
        const again = await other()
        await check(t, again, direct, ['bob', 'alice'])
        const stored = place === 'inserted' || place === 'derived' || open
        t.equal((await again.messages(direct, { limit: 99 })).length, earlier + (stored ? 3 : 0))
        t.match(await again.commit(ops), [1, 2, 3].map(i => ({ seq: earlier + i, replay: stored })), 'what the client sends again is stored once')
        await check(t, again, direct, ['alice', 'bob'])
        // The first process goes on: what it had in memory is not believed.
        arm('purged')
        t.match(await store.commit(ops), [1, 2, 3].map(i => ({ seq: earlier + i, replay: true })))
        t.match(await store.commit([message(direct, 'bob')]), [{ seq: earlier + 4, n: earlier + 3, replay: false }])
        await check(t, store, direct, ['alice', 'bob'])
      })
    }
  }

  await t.test('a reader of the same process repairs what a failed write left', async t => {
    const { store, arm } = await world(t)
    await store.commit([message(direct, 'alice')])
    arm('derived')
    await store.commit([message(direct, 'bob'), message('d:bob:carol', 'carol')])
    const [[head, other], alice, bob] = await Promise.all([store.heads([direct, 'd:bob:carol']), store.member('alice', direct), store.memberships('bob', { limit: 9 })])
    t.match([head, other], [{ seq: 2 }, { seq: 1 }])
    t.match(alice, { readSeq: 1 })
    t.match(bob, [{ conv: direct, readSeq: 2 }, { conv: 'd:bob:carol', readSeq: 0 }])
  })

  await t.test('a message without cid: the DUP finds it, though nothing else was written', async t => {
    const { store, arm, other } = await world(t)
    const resend = { session: 'alice/p', packetId: 7, digest: 'd', dup: false, epoch: 'first', number: 1, proven: 0 }
    await store.commit([message(direct, 'alice', { resend })])
    arm('inserted')
    const op = message(direct, 'alice', { resend: { ...resend, digest: 'e' } })
    await t.rejects(store.commit([op]))
    const again = await other()
    t.match(await again.commit([message(direct, 'alice', { resend: { ...resend, digest: 'e', dup: true } })]), [{ seq: 2, id: op.id, replay: true }])
    t.equal((await again.messages(direct, { limit: 9 })).length, 2)
  })

  await t.test('what a rejected commit stored all the same is told with the next answer of its conversation, once', async t => {
    const { store, arm } = await world(t)
    await store.commit([message(direct, 'alice')])
    const lost = [message(direct, 'alice', { cid: 'k' }), message('g:g', 'alice', { cid: 'g' }), message(direct, 'bob')]
    arm('inserted')
    await t.rejects(store.commit(lost))
    arm('purged')
    const [next, again] = await store.commit([message(direct, 'bob'), message(direct, 'alice', { cid: 'k' })])
    t.match(next, { seq: 4, missed: [{ seq: 2, id: lost[0]?.id, content: lost[0]?.content, from: 'alice' }, { seq: 3, id: lost[2]?.id }] })
    t.same(again, { seq: 2, n: 2, id: lost[0]?.id, ts: lost[0]?.ts, replay: true })
    t.match(await store.commit([message('g:g', 'alice', { cid: 'g' })]), [{ seq: 1, replay: true, missed: [{ seq: 1, id: lost[1]?.id }] }], 'a repeat tells of itself')
    for (const [out] of [await store.commit([message('g:g', 'alice', { cid: 'g' })]), await store.commit([message(direct, 'bob')])]) t.equal(out?.missed, undefined)

    const event = (content: string): Operation => ({ op: 'event', user: 'eve', ts: 3, content })
    await store.commit([event('1')])
    arm('event heads')
    await t.rejects(store.commit([message(direct, 'bob', { cid: 'with events' }), event('2'), event('3')]))
    arm('purged')
    t.match(await store.commit([event('4'), message(direct, 'bob', { cid: 'with events' })]),
      [{ seq: 4, missedEvents: [{ seq: 2, content: '2' }, { seq: 3, content: '3' }] }, { seq: 6, replay: true, missed: [{ seq: 6 }] }])
    t.equal((await store.commit([event('5')]))[0]?.missedEvents, undefined)
  })

  await t.test('a group is made, changed and removed', async t => {
    const make: Operation[] = [group('dev'), join('dev', 'alice'), join('dev', 'bob'), message('g:dev', 'alice', { cid: '1' })]
    for (const [place, nth] of [['group members', 1], ['groups', 1], ['insert', 1], ['inserted', 1], ['derived', 1]] as const) {
      const { store, arm, other } = await world(t)
      arm(place, nth)
      await Promise.allSettled([store.commit(make)])
      const again = await other()
      await again.commit(make)
      t.match(await again.group('dev'), { gid: 'dev' })
      t.equal(await again.groupSize('dev'), 2, place)
      t.match(await again.memberships('bob', { limit: 9 }), [{ conv: 'g:dev', joinedSeq: 0, readSeq: 0 }])
      t.equal(await unread(again, 'bob', 'g:dev'), 1)
      t.equal(await unread(again, 'alice', 'g:dev'), 0)
    }
    const { store, arm, other } = await world(t)
    await store.commit(make)
    await store.hide('bob', 'g:dev', [1])
    arm('group drop')
    await t.rejects(store.commit([{ op: 'group.drop', gid: 'dev' }]))
    const again = await other()
    t.match(await again.group('dev'), { gid: 'dev' })
    await again.commit([{ op: 'group.drop', gid: 'dev' }])
    t.same(await again.memberships('bob', { limit: 9 }), [])
    t.same(await again.messages('g:dev', { limit: 9 }), [])
  })

  await t.test('who is removed is out, whatever fails behind it', async t => {
    const { store, arm, other } = await world(t)
    await store.commit([group('dev'), join('dev', 'alice'), join('dev', 'bob'), message('g:dev', 'alice')])
    arm('insert')
    await t.rejects(store.commit([{ op: 'member.drop', gid: 'dev', user: 'bob' }, message('g:dev', 'alice', { counts: false, marksSender: false })]))
    const again = await other()
    t.equal(await again.groupMember('dev', 'bob'), undefined)
    t.match(await again.heads(['g:dev']), [{ seq: 1 }])
  })

  await t.test('hiding: what is hidden is not unread, also when its number was not written', async t => {
    for (const place of ['hide', 'hidden'] as const) {
      const { store, arm, other } = await world(t)
      await store.commit([message(direct, 'alice'), message(direct, 'alice'), message(direct, 'alice')])
      arm(place)
      await t.rejects(store.hide('bob', direct, [2, 3]))
      for (const each of [await other(), store]) {
        const hidden = await each.hidden('bob', direct, 0, 9)
        t.same(hidden, place === 'hide' ? [] : [2, 3])
        t.equal(await unread(each, 'bob', direct), 3 - hidden.length)
        t.equal((await each.memberships('bob', { limit: 9 }))[0]?.hiddenUnread, hidden.length)
      }
    }
  })

  await t.test('a purge: nothing comes back, no number is used again, and the next one ends the work', async t => {
    for (const place of ['purge marked', 'purged'] as const) {
      const { store, arm, other } = await world(t)
      await store.commit([1, 2, 3, 4].map(ts => message(direct, 'alice', { ts, cid: `c${ts}` })))
      await store.hide('bob', direct, [2, 4])
      arm(place)
      await t.rejects(store.purge(4, 100))
      const again = await other()
      t.same((await again.messages(direct, { limit: 9 })).map(m => m.seq), [4])
      t.match(await again.commit([message(direct, 'alice', { cid: 'c1', ts: 5 })]), [{ seq: 5, n: 5, replay: false }], 'a key of a purged message is free')
      await again.purge(4, 100)
      t.same(await again.hidden('bob', direct, 0, 9), [4])
      t.equal(await unread(again, 'bob', direct), 1)
      t.equal(await again.purge(100, 100), 2)
      t.equal(await again.purge(100, 100), 0)
      t.match(await (await other()).commit([message(direct, 'alice')]), [{ seq: 6, n: 6 }])
    }
  })

  await t.test('events: none is lost that was told, and numbers go on', async t => {
    const event = (content: string, slot?: string): Operation => ({ op: 'event', user: 'bob', ts: 3, content, ...(slot === undefined ? {} : { slot }) })
    for (const place of ['events', 'event heads'] as const) {
      const { store, arm, other } = await world(t)
      await store.commit([event('1', 'x'), event('2')])
      arm(place)
      await t.rejects(store.commit([event('3', 'x'), event('4')]))
      const again = await other()
      const told = place === 'events' ? [1, 2] : [2, 3, 4]
      t.same((await again.events('bob', 0, 9)).map(e => e.seq), told)
      t.equal((await again.eventHead('bob')).seq, told.at(-1))
      t.match(await again.commit([event('5', 'x')]), [{ seq: (told.at(-1) ?? 0) + 1 }])
      t.equal((await again.events('bob', 0, 9)).filter(e => e.content !== '2' && e.content !== '4').length, 1, 'one event a slot')
    }
  })
}
