/** Replying marks a conversation read: who hears of it, how often, and what a crash in between costs. */
import t from 'tap'
import type { Test } from 'tap'
import { Receipts } from '../../broker/engine/reading/receipts.ts'
import type { Operation, Outcome } from '../../broker/store/store.ts'
import { openBench } from '../support/engine-bench.ts'
import type { EngineBench } from '../support/engine-bench.ts'

const conv = 'd:alice:bob'

/** The read marks that `user` was told, in order: `who seq`. */
function reads (b: EngineBench, user: string, within = conv): string[] {
  return b.outputs.flatMap(output => {
    if (output.kind !== 'event' || output.user !== user) return []
    const event = JSON.parse(Buffer.from(output.payload).toString()) as { kind: string, conv: string, by: string, seq: number }
    return event.kind === 'read' && event.conv === within ? [`${event.by} ${event.seq}`] : []
  })
}

async function say (b: EngineBench, from: string, topic: string, more = {}): Promise<void> {
  await b.verdict(b.send(from, topic, 'hi', more))
}

/** Commits what receipts wait, by ending the engine. */
async function ended (b: EngineBench): Promise<void> { await b.engine.close() }

await t.test('a reply is a read receipt for the other side and for one\'s own other devices', async t => {
  const b = await openBench(t)
  await say(b, 'alice', 'im/to/u/bob')
  await say(b, 'alice', 'im/to/u/bob')
  await say(b, 'bob', 'im/to/u/alice')
  await ended(b)
  t.same(reads(b, 'alice'), ['bob 3'])
  t.same(reads(b, 'bob'), ['bob 3'])
})

await t.test('who writes and has nothing unread tells nobody anything', async t => {
  const b = await openBench(t)
  for (let i = 0; i < 20; i++) await say(b, 'alice', 'im/to/u/bob')
  await say(b, 'alice', 'im/to/u/alice')
  await ended(b)
  t.same(b.outputs.filter(output => output.kind === 'event'), [])
})

await t.test('what is read while a receipt is under way is one more receipt each', async t => {
  const b = await openBench(t)
  const batches: Operation[][] = []
  let release = (): void => {}
  const commit = async (operations: readonly Operation[]): Promise<Outcome[]> => {
    batches.push([...operations])
    if (batches.length === 1) await new Promise<void>(resolve => { release = resolve })
    return []
  }
  const receipts = new Receipts({ ...b.engine.host, commit }, 10)
  receipts.read('bob', conv, 2)
  const first = receipts.flush()
  for (let seq = 3; seq <= 100; seq++) receipts.read(seq % 2 === 0 ? 'bob' : 'alice', conv, seq)
  receipts.read('bob', conv, 50)
  release()
  await first
  await receipts.close()
  const told = batches.slice(1).flat().map(op => op.op === 'event' ? `${op.user} ${String(JSON.parse(op.content).seq)}` : '')
  t.same(told.sort(), ['alice 100', 'alice 99', 'bob 100', 'bob 99'], 'the newest, and a mark never goes back')
})

await t.test('in a group only one\'s own devices hear of it', async t => {
  const b = await openBench(t)
  await b.store.commit([
    { op: 'group', group: { gid: 'dev', name: 'dev', owner: 'alice', createdAt: 1 } },
    { op: 'member', gid: 'dev', user: 'alice', role: 'owner' },
    { op: 'member', gid: 'dev', user: 'bob', role: 'member' }
  ])
  await say(b, 'alice', 'im/to/g/dev')
  await say(b, 'bob', 'im/to/g/dev')
  await ended(b)
  t.same(reads(b, 'bob', 'g:dev'), ['bob 2'])
  t.same(reads(b, 'alice', 'g:dev'), [])
})

/** A reply is committed, its receipts are not, and the server starts again on the same store. */
async function crashed (t: Test): Promise<EngineBench> {
  const b = await openBench(t)
  b.before = operations => { if (operations.some(op => op.op === 'event')) throw new Error('the power fails') }
  await say(b, 'alice', 'im/to/u/bob')
  await say(b, 'bob', 'im/to/u/alice', { packetId: 7, resends: { epoch: 'first' }, number: 1, proven: 0 })
  // The first engine goes on failing beside the new one; it may close in peace when that is gone.
  t.teardown(() => { b.before = () => {} })
  t.same(await b.store.events('alice', 0, 10), [])
  return await openBench(t, {}, b.level)
}

await t.test('after a crash between commit and receipt the next mark repairs it', async t => {
  const again = await crashed(t)
  await again.verdict(again.send('bob', 'im/to/u/alice/read', '2'))
  await again.verdict(again.send('bob', 'im/to/u/alice/read', '2'))
  await ended(again)
  t.same(reads(again, 'alice'), ['bob 2'])
  t.same(reads(again, 'bob'), ['bob 2'])
})

await t.test('so does the reply, sent again because it was not acknowledged', async t => {
  const again = await crashed(t)
  await say(again, 'bob', 'im/to/u/alice', { packetId: 7, dup: true, resends: { epoch: 'second', last: { epoch: 'first', proven: 0 } }, number: 1, proven: 0 })
  await ended(again)
  t.same(reads(again, 'alice'), ['bob 2'])
})

await t.test('a mark told once is not told again', async t => {
  const b = await openBench(t)
  await say(b, 'alice', 'im/to/u/bob')
  for (let i = 0; i < 5; i++) {
    await b.verdict(b.send('bob', 'im/to/u/alice/read', '1'))
    await new Promise(resolve => setImmediate(resolve))
  }
  await ended(b)
  t.same(reads(b, 'alice'), ['bob 1'])
})

await t.test('an explicit mark behind a reply says that a device received it', async t => {
  const b = await openBench(t)
  await say(b, 'alice', 'im/to/u/bob')
  await say(b, 'bob', 'im/to/u/alice')
  t.equal((await b.store.member('bob', conv))?.deliveredSeq, 0, 'who replies may have received nothing')
  await b.verdict(b.send('bob', 'im/to/u/alice/read', '1'))
  t.equal((await b.store.member('bob', conv))?.deliveredSeq, 1)
  await ended(b)
  const heard = (await b.store.events('alice', 0, 10)).map(event => JSON.parse(event.content) as { kind: string, seq: number, by: string })
  t.match(heard.sort((x, y) => x.kind < y.kind ? -1 : 1), [{ kind: 'delivered', seq: 1, by: 'bob' }, { kind: 'read', seq: 2 }])
})
