/** The feed over ends of a process between two writes, commands without an answer, and two servers that write one database. */
import { MongoClient } from 'mongodb'
import t from 'tap'
import type { Test } from 'tap'
import type { NewMessage, Store } from '../../broker/store/store.ts'
import { messageDoc } from '../../broker/store/mongodb/documents.ts'
import type { MessageDoc } from '../../broker/store/mongodb/documents.ts'
import { openMongoStore } from '../../broker/store/mongodb/store.ts'
import type { FaultPlace, MongoStoreOptions } from '../../broker/store/mongodb/store.ts'
import type { FeedEntry } from '../../broker/store/feed.ts'
import { drain, short } from '../contract/feed-contract.ts'
import { direct, message } from '../contract/operations.ts'
import { mongodbServer } from '../support/mongodb.ts'
import type { MongodbServer } from '../support/mongodb.ts'

t.setTimeout(300_000)
const server = await mongodbServer(t)
if (server !== undefined) await tests(server)

/** The numbers of a conversation in the order in which they came for the first time. */
function firsts (entries: readonly FeedEntry[], conv: string): number[] {
  const seqs = entries.flatMap(entry => entry.kind === 'message' && entry.conv === conv ? [entry.message.seq] : [])
  return [...new Set(seqs)]
}

function upTo (last: number): number[] { return Array.from({ length: last }, (_, i) => i + 1) }

async function tests (server: MongodbServer): Promise<void> {
  let made = 0
  const world = (t: Test): ((more?: Partial<MongoStoreOptions>) => Promise<Store>) => {
    const options = { url: server.url, database: `${server.database}_${++made}`, timeoutMs: 20_000 }
    return async (more = {}) => {
      const store = await openMongoStore({ ...options, ...more })
      t.teardown(() => store.close())
      return store
    }
  }

  for (const place of ['members before insert', 'insert', 'inserted', 'feed', 'derived'] as const) {
    await t.test(`a commit that ends at '${place}'`, async t => {
      const open = world(t)
      let armed = false
      const at = (one: FaultPlace): void => { if (armed && one === place) throw new Error(`the process ended at '${place}'`) }
      const store = await open({ faults: { at } })
      await store.feed.register('audit', { from: 'now', createdAt: 1 })
      await store.commit([message(direct, 'alice'), message('d:a:b', 'a')])
      armed = true
      const ops: NewMessage[] = [message(direct, 'bob', { cid: 'x' }), message(direct, 'alice', { cid: 'a' }), message('d:a:b', 'b', { cid: 'b' }), message('d:new:one', 'one', { cid: 'n' })]
      const [out] = await Promise.allSettled([store.commit(ops)])
      t.equal(out?.status, place === 'derived' ? 'fulfilled' : 'rejected')
      // Another process goes on: somebody else writes in the one conversation, the client sends again in the others.
      const other = await open()
      await other.commit([message(direct, 'carol')])
      await other.commit(ops)
      const all = await drain(other, 'audit')
      const [first, second, third] = await other.heads([direct, 'd:a:b', 'd:new:one'])
      t.same(firsts(all, direct), upTo(first?.seq ?? 0), 'all of it, in order')
      t.equal(first?.seq, 4)
      t.same(firsts(all, 'd:a:b'), upTo(second?.seq ?? 0))
      t.same(firsts(all, 'd:new:one'), upTo(third?.seq ?? 0))
      // The first process was not dead after all.
      armed = false
      await store.commit(ops)
      await store.commit([message(direct, 'bob'), message('d:a:b', 'b')])
      const rest = await drain(other, 'audit')
      t.same(firsts([...all, ...rest], direct), upTo(5))
      t.same(firsts([...all, ...rest], 'd:a:b'), upTo(3))
    })
  }

  await t.test('a repeat whose first one was stored and not put into the feed brings it', async t => {
    const open = world(t)
    let armed = true
    const at = (place: FaultPlace): void => { if (armed && place === 'feed') throw new Error('ended') }
    const store = await open({ faults: { at } })
    await store.feed.register('audit', { from: 'now', createdAt: 1 })
    const resend = { session: 'alice/p', packetId: 1, digest: 'd', dup: false, epoch: 'first', number: 1, proven: 0 }
    const sent = message(direct, 'alice', { resend })
    await t.rejects(store.commit([sent]))
    armed = false
    t.same(short(await drain(store, 'audit')), [])
    t.match(await store.commit([{ ...sent, resend: { ...resend, dup: true } }]), [{ seq: 1, replay: true }])
    t.same(short(await drain(store, 'audit')), [`${direct} 1`], 'before it is acknowledged')
  })

  await t.test('an insert that comes late, behind the end that is known, is in the feed before its repeat is acknowledged', async t => {
    const open = world(t)
    let armed = false
    const at = (place: FaultPlace): void => { if (armed && place === 'insert') throw new Error('no answer') }
    const store = await open({ faults: { at } })
    await store.feed.register('audit', { from: 'now', createdAt: 1 })
    await store.commit([message(direct, 'bob')])
    const resend = { session: 'alice/p', packetId: 1, digest: 'd', dup: false, epoch: 'first', number: 1, proven: 0 }
    const sent = message(direct, 'alice', { resend })
    armed = true
    await t.rejects(store.commit([sent]))
    armed = false
    t.match(await store.heads([direct]), [{ seq: 1 }])
    const client = new MongoClient(server.url)
    t.teardown(() => client.close())
    await client.db(`${server.database}_${made}`).collection<MessageDoc>('messages').insertOne(messageDoc(sent, `i${sent.id}`, { seq: 2, n: 2 }))
    t.match(await store.commit([{ ...sent, resend: { ...resend, dup: true } }]), [{ seq: 2, replay: true }])
    t.same(short(await drain(store, 'audit')), [`${direct} 1`, `${direct} 2`])
    await store.commit([message(direct, 'bob')])
    t.same(short(await drain(store, 'audit')), [`${direct} 3`])
  })

  await t.test('two servers share one order', async t => {
    const open = world(t)
    const one = await open()
    await one.feed.register('audit', { from: 'now', createdAt: 1 })
    const two = await open()
    const convs = ['d:a:b', 'd:a:c', 'd:b:c']
    const reader = await open()
    const done = new AbortController()
    const all: FeedEntry[] = []
    const reading = (async () => {
      while (!done.signal.aborted) {
        all.push(...await drain(reader, 'audit', 5))
        await reader.feed.trim(0, 4)
      }
    })()
    await Promise.all([one, two].map(async (store, which) => {
      for (let i = 0; i < 60; i++) {
        await store.commit(Array.from({ length: 1 + i % 3 }, (_, j) => message(convs[(i + j + which) % 3] as string, 'a', { cid: `${which} ${i} ${j}` })))
      }
    }))
    done.abort()
    await reading
    all.push(...await drain(reader, 'audit'))
    t.same(all.filter(({ kind }) => kind === 'gap'), [])
    t.same(all.map(({ position }) => position), upTo(all.length), 'no position twice, none left out')
    const heads = await reader.heads(convs)
    for (const [i, conv] of convs.entries()) t.same(firsts(all, conv), upTo(heads[i]?.seq ?? 0), conv)
  })

  await t.test('a server that was stopped meanwhile does not write behind the readers', async t => {
    const open = world(t)
    const stopped = await open()
    await stopped.feed.register('audit', { from: 'now', createdAt: 1 })
    await stopped.commit([message(direct, 'alice')])
    const other = await open()
    for (let i = 0; i < 40; i++) await other.commit([message('d:x:y', 'x')])
    await drain(other, 'audit')
    t.ok(await other.feed.trim(0, 1000) > 0)
    await stopped.commit([message(direct, 'alice')])
    t.same(short(await drain(other, 'audit')), [`${direct} 2`])
    await other.commit([message('d:x:y', 'y')])
    t.same(short(await drain(stopped, 'audit')), ['d:x:y 41'])
  })

  await t.test('a group of commits costs one command more each, and moves its rows together', async t => {
    const open = world(t)
    let commands: string[] = []
    const store = await open({ onCommand: ({ name, collection }) => { commands.push(`${name} ${collection}`) } })
    await store.commit([message(direct, 'alice')])
    await store.feed.register('audit', { from: 'now', createdAt: 1 })
    await store.commit([message(direct, 'alice')])
    const seen: string[][] = []
    for (let i = 0; i < 32; i++) {
      commands = []
      await store.commit([message(direct, 'alice')])
      seen.push(commands)
    }
    const usual = ['insert messages', 'update meta', 'update conversations']
    t.equal(seen.filter(some => some.join() === usual.join()).length, 30)
    t.equal(seen.filter(some => some.join() === ['insert messages', 'insert feed', 'update meta', 'update conversations'].join()).length, 2)
    await store.feed.remove('audit')
    commands = []
    await store.commit([message(direct, 'alice')])
    t.same(commands, ['insert messages', 'update conversations'], 'and nothing when nobody reads')
  })
}
