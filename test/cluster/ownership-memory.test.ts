/** What a store that shares its database has in memory: its own logs, as long as nobody says that another process has written them. */
import t from 'tap'
import type { Test } from 'tap'
import type { MongoStoreOptions } from '../../broker/store/mongodb/store.ts'
import { openMongoStore } from '../../broker/store/mongodb/store.ts'
import type { NewEvent, SharedStore, Store } from '../../broker/store/store.ts'
import { group, join, message } from '../contract/operations.ts'
import { mongodbServer } from '../support/mongodb.ts'

t.setTimeout(300_000)
const server = await mongodbServer(t)

interface Side { store: Store, shared: SharedStore, /** what it said of the other's rows */ said: string[], commands: string[], /** what it owns */ owns: (log: string) => boolean }

await t.test('ownership in memory', { skip: server === undefined }, async t => {
  if (server === undefined) return
  const open = async (t: Test, owns: (log: string) => boolean, more: Partial<MongoStoreOptions> = {}): Promise<Side> => {
    const side = { said: [] as string[], commands: [] as string[], owns }
    const store = await openMongoStore({
      url: server.url,
      database: server.database,
      timeoutMs: 20_000,
      owns: log => side.owns(log),
      onCommand: ({ name, collection }) => { side.commands.push(`${name} ${collection}`) },
      ...more
    })
    t.teardown(() => store.close())
    const shared = store.shared as SharedStore
    shared.onForeign(rows => { side.said.push(...rows) })
    return { ...side, store, shared, get owns () { return side.owns }, set owns (owns) { side.owns = owns } }
  }
  /** The first one owns all; what the second one says is told to it, unless `deaf`. */
  const pair = async (t: Test, { deaf = false, ...more }: Partial<MongoStoreOptions> & { deaf?: boolean } = {}): Promise<[Side, Side]> => {
    const [a, b] = [await open(t, () => true, more), await open(t, () => false)]
    if (!deaf) b.shared.onForeign(rows => { a.shared.forget(rows) })
    return [a, b]
  }
  const named = (t: Test): string => `d:alice:${t.name.replace(/\W/g, '').slice(0, 30)}`
  const marks = (user: string, conv: string, seq: number) => ({ cursors: [], members: [{ user, conv, readSeq: seq, deliveredSeq: seq }], events: [] })

  await t.test('each write of another one\'s rows is told, and read by the owner', async t => {
    const [a, b] = await pair(t)
    const [conv, gid] = [named(t), 'told']
    const other = conv.slice(8)
    await a.store.commit([message(conv, other), message(conv, other), group(gid), join(gid, 'alice'), message(`g:${gid}`, 'alice')])
    t.match(await a.store.member('alice', conv), { readSeq: 0 })
    t.equal(await a.store.groupSize(gid), 1)
    t.match(await a.store.eventHead('alice'), { seq: 0 })

    const says = async (work: Promise<unknown>, rows: string[]): Promise<void> => {
      await work
      t.same(b.said.splice(0).sort(), rows)
    }
    await says(b.store.commit([message(conv, other)]), [`${other} ${conv}`])
    t.match(await a.store.heads([conv]), [{ seq: 3 }])
    await says(b.store.commit([message(conv, 'server', { marksSender: false })]), [conv])
    t.match(await a.store.heads([conv]), [{ seq: 4 }])
    await says(b.store.advance(marks('alice', conv, 2)), [`alice ${conv}`])
    t.match(await a.store.member('alice', conv), { readSeq: 2 })
    await says(b.store.hide('alice', conv, [3]), [`alice ${conv}`])
    t.match(await a.store.member('alice', conv), { hiddenUnread: 1 })
    await says(b.store.settings('alice', conv, { pinned: true }), [`alice ${conv}`])
    t.match(await a.store.member('alice', conv), { pinned: true })
    await says(b.store.clear('alice', conv), [`alice ${conv}`])
    t.match(await a.store.member('alice', conv), { clearedSeq: 4, readSeq: 4 })
    await says(b.store.commit([join(gid, 'bob')]), [`bob g:${gid}`])
    t.equal(await a.store.groupSize(gid), 2)
    t.match(await a.store.groupMember(gid, 'bob'), { role: 'member' })
    await says(b.store.commit([{ op: 'event', user: 'alice', ts: 1, content: '"x":1' }]), ['e:alice'])
    t.match(await a.store.eventHead('alice'), { seq: 1 })
    await says(b.store.advance({ cursors: [], members: [], events: [{ user: 'alice', deliveredSeq: 1 }] }), ['e:alice'])
    t.match(await a.store.eventHead('alice'), { deliveredSeq: 1 })
    await says(b.store.commit([{ op: 'group.drop', gid }]), [`alice g:${gid}`, `bob g:${gid}`])
    t.equal(await a.store.groupSize(gid), 0)
    t.equal(await a.store.groupMember(gid, 'bob'), undefined)
    t.same(a.said, [], 'its own are no other\'s')
    t.ok(await b.store.purge(Date.now() * 2, 1000) > 0)
    t.ok(b.said.includes(conv))
    t.same(await a.store.messages(conv, { limit: 10 }), [])
  })

  await t.test('a conversation is forgotten with all its members, and everything at once', async t => {
    const [a, b] = await pair(t, { deaf: true })
    const conv = 'g:forgotten'
    await a.store.commit([group('forgotten'), join('forgotten', 'alice'), join('forgotten', 'bob'), message(conv, 'alice')])
    for (const rows of [[conv], undefined]) {
      await a.store.membersAt(['alice', 'bob'].map(user => ({ user, conv })))
      const [before] = await a.store.heads([conv])
      await b.store.commit([message(conv, 'bob')])
      a.commands.length = 0
      t.match(await a.store.heads([conv]), [{ seq: before?.seq }])
      t.same(a.commands, [], 'from memory')
      a.shared.forget(rows)
      t.match(await a.store.heads([conv]), [{ seq: (before?.seq ?? 0) + 1 }])
      t.match(await a.store.groupMember('forgotten', 'bob'), { role: 'member' })
      t.match(await a.store.member('bob', conv), { readSeq: (before?.seq ?? 0) + 1 })
    }
  })

  await t.test('what is told while a commit is under way counts', async t => {
    let hold: (() => Promise<void>) | undefined
    const [a, b] = await pair(t, { faults: { at: async place => { if (place === 'derived') await hold?.() } } })
    const conv = named(t)
    const other = conv.slice(8)
    await a.store.commit([message(conv, other)])
    hold = async () => {
      hold = undefined
      await b.store.settings('alice', conv, { muted: true })
      await b.store.commit([message(conv, other)])
    }
    t.match(await a.store.commit([message(conv, 'alice')]), [{ seq: 2 }])
    t.match(await a.store.heads([conv]), [{ seq: 3 }])
    t.match(await a.store.member('alice', conv), { muted: true })
  })

  await t.test('who does not own a log any more keeps nothing of it, and says what it still writes', async t => {
    let hold: (() => Promise<void>) | undefined
    const [a, b] = [await open(t, () => true, { faults: { at: async place => { if (place === 'inserted') await hold?.() } } }), await open(t, () => false)]
    const conv = named(t)
    const other = conv.slice(8)
    await a.store.commit([message(conv, other)])
    hold = async () => {
      hold = undefined
      ;[a.owns, b.owns] = [() => false, () => true]
      for (const side of [a, b]) side.shared.forget()
      // As it is when the first one has not written the head.
      t.match(await b.store.heads([conv]), [{ seq: 2 }])
    }
    await a.store.commit([message(conv, other)])
    t.same(a.said, [`${other} ${conv}`])
    await b.store.commit([message(conv, 'alice')])
    t.match(await a.store.heads([conv]), [{ seq: 3 }])
  })

  await t.test('what a device has acknowledged is there, whatever the owner remembers', async t => {
    const [a, b] = await pair(t, { deaf: true })
    const conv = named(t)
    const other = conv.slice(8)
    await a.store.commit([message(conv, other), { op: 'event', user: 'alice', ts: 1, content: '"x":1' }])
    await b.store.commit([message(conv, other), { op: 'event', user: 'alice', ts: 1, content: '"x":2' }])
    const seq = (await b.store.eventHead('alice')).seq
    t.match(await a.store.advance({ ...marks('alice', conv, 2), events: [{ user: 'alice', deliveredSeq: seq }] }), [{ read: true, delivered: true, row: { readSeq: 2, deliveredSeq: 2 } }])
    t.match(await a.store.eventHead('alice'), { seq, deliveredSeq: seq })
    t.equal(await a.store.groupMember('late', 'bob'), undefined)
    await a.store.commit([group('late'), join('late', 'alice')])
    await b.store.commit([join('late', 'bob')])
    await a.store.commit([message('g:late', 'bob')])
    t.match(await a.store.member('bob', 'g:late'), { readSeq: 1 }, 'nor who writes in a group')
  })

  await t.test('of a slot\'s events with a mark the highest stays, whoever writes them', async t => {
    const [a, b] = await pair(t)
    const at = (mark: number, slot = 'read x'): NewEvent => ({ op: 'event', user: 'marked', slot, mark, ts: mark, content: `"seq":${mark}` })
    t.match(await a.store.commit([at(5), at(4), at(7), at(7), at(1, 'read y')]), [{ seq: 1 }, { replay: true }, { seq: 2, replay: false }, { replay: true }, { seq: 3 }], 'in one commit')
    a.commands.length = 0
    t.match(await a.store.commit([at(6)]), [{ replay: true, seq: 0 }])
    t.same(a.commands, [], 'it knows')
    t.match(await b.store.commit([at(6), at(8)]), [{ replay: true }, { seq: 4, replay: false }])
    t.match(await a.store.commit([at(7), at(9)]), [{ replay: true }, { seq: 5, replay: false }])
    t.match(await b.store.commit([{ ...at(9), ts: 10 }]), [{ replay: true }])
    for (const { store } of [a, b, a]) t.match(await store.commit([at(9)]), [{ seq: 5, replay: false }], 'the same once more')
    t.match((await b.store.events('marked', 0, 10)).map(({ content }) => content), ['"seq":1', '"seq":9'])
  })
})
