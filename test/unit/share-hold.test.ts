/** Who is cut off as it keeps the others waiting, and who is not. */
import t from 'tap'
import type { Test } from 'tap'
import { FakeHand, shareOf } from '../support/fake-hand.ts'
import { settled } from '../support/memory-client.ts'

const holdTimeoutMs = 1000
const world = async (test: Test, shareInflight: number) => await shareOf(test, { shareInflight, shareHoldTimeoutMs: holdTimeoutMs })

await t.test('nobody is cut off while nothing waits', async t => {
  const { share, commit, pass } = await world(t, 4)
  const [busy, idle] = [new FakeHand(share, 'busy', 4), new FakeHand(share, 'idle', 1)]
  await commit(4)
  t.strictSame([busy.held.length, idle.held.length], [3, 1])
  idle.ack(4)
  await pass(holdTimeoutMs + 1)
  t.strictSame([busy.cuts, idle.cuts], [0, 0], 'the window is full, and there is nothing behind it')
  await commit(1)
  await pass(1)
  t.strictSame([busy.cuts, idle.cuts], [1, 0], 'until there is')
  t.strictSame(idle.seqs, [1])
})

await t.test('nobody is cut off while nobody else could go on', async t => {
  const { share, commit, pass } = await world(t, 4)
  const [one, two] = [new FakeHand(share, 'one', 2), new FakeHand(share, 'two', 2)]
  await commit(10)
  await pass(holdTimeoutMs + 1)
  t.strictSame([one.cuts, two.cuts], [0, 0], 'all are busy')
  two.ack(2)
  await pass(1)
  t.strictSame([one.cuts, two.cuts], [1, 0], 'now one of them waits')
})

await t.test('who acknowledges is not cut off', async t => {
  const { share, commit, pass } = await world(t, 4)
  const steady = new FakeHand(share, 'steady', 3)
  await commit(3)
  const other = new FakeHand(share, 'other', 4)
  await commit(10)
  t.strictSame([steady.seqs, other.seqs], [[1, 2, 3], [4]])
  other.ack(4)
  for (const seq of [3, 2]) {
    await pass(holdTimeoutMs - 1)
    steady.ack(seq)
  }
  await pass(holdTimeoutMs)
  t.strictSame(steady.cuts, 0, 'it has been heard of')
  await pass(1)
  t.strictSame([steady.cuts, other.cuts], [1, 0])
})

await t.test('one that only a busy worker can take stops the others for a time', async t => {
  const { share, commit, pass } = await world(t, 64)
  const busy = new FakeHand(share, 'busy', 1)
  await commit(1)
  const small = new FakeHand(share, 'small', 10, 300)
  await commit(1, 'x'.repeat(400))
  await commit(2)
  t.strictSame([busy.seqs, small.seqs], [[1], []])
  await pass(holdTimeoutMs)
  t.equal(busy.cuts, 0)
  await pass(1)
  t.strictSame([busy.cuts, small.cuts], [1, 0])
  t.strictSame(small.seqs, [1, 3, 4], 'what nobody can take is over')
})

await t.test('of those that could take it, who has been silent is cut off', async t => {
  const { b, share, commit, pass } = await world(t, 64)
  const [brisk, hangs] = [new FakeHand(share, 'brisk', 2), new FakeHand(share, 'hangs', 1)]
  await commit(3)
  t.strictSame([brisk.seqs, hangs.seqs], [[1, 3], [2]])
  const small = new FakeHand(share, 'small', 10, 300)
  await commit(1)
  t.strictSame(small.seqs, [4])
  brisk.ack(1)
  await commit(1)
  t.strictSame(small.seqs, [4, 5], 'with most room')
  await commit(1, 'x'.repeat(400))
  t.strictSame(brisk.seqs, [3, 6])
  await commit(1, 'x'.repeat(400))
  await pass(holdTimeoutMs)
  brisk.ack(3)
  await settled(b.engine)
  t.strictSame(brisk.seqs, [6, 7], 'it takes it when it has room')
  await commit(1, 'x'.repeat(400))
  await pass(1)
  t.strictSame([brisk.cuts, hangs.cuts, small.cuts], [0, 1, 0], 'the one behind it waits for them')
})

await t.test('one that only a busy worker can take is over when it expires', async t => {
  const { b, share, commit, pass } = await world(t, 64)
  const busy = new FakeHand(share, 'busy', 1)
  await commit(1)
  const small = new FakeHand(share, 'small', 10, 300)
  b.engine.commit('d:alice:bob', 'alice', 'x'.repeat(400), Date.now() + 1000)
  await commit(1)
  t.strictSame(small.seqs, [])
  b.engine.aheadMs = 2000
  await pass(1)
  t.strictSame([busy.seqs, small.seqs], [[1], [3]])
})

await t.test('one that only a busy worker can take is read once while nothing changes', async t => {
  const { b, share, commit } = await world(t, 64)
  const busy = new FakeHand(share, 'busy', 1)
  await commit(1)
  const small = new FakeHand(share, 'small', 10, 300)
  const ready = new FakeHand(share, 'ready', 1)
  await commit(5)
  await commit(2, 'x'.repeat(400))
  await commit(1)
  t.strictSame([small.seqs, ready.seqs], [[2, 3, 4, 5, 6], [7]])
  const before = b.engine.reads.length
  for (const seq of small.seqs) {
    small.ack(seq)
    await settled(b.engine)
  }
  t.ok(b.engine.reads.length - before <= 1, `${b.engine.reads.length - before} reads`)
  ready.ack(ready.seqs[0] as number)
  await settled(b.engine)
  t.equal(ready.seqs[0], 8, 'who has room again is asked')
  t.strictSame([busy.cuts, small.seqs], [0, [9]])
})

await t.test('no more is read of what was given back than there is room for', async t => {
  const { b, share, commit } = await world(t, 1024)
  const all = new FakeHand(share, 'all', 200)
  await commit(200)
  const one = new FakeHand(share, 'one', 1)
  let entries = 0
  const read = b.engine.read.bind(b.engine)
  b.engine.read = async query => {
    const page = await read(query)
    entries += page.entries.length
    return page
  }
  all.cutOff()
  await settled(b.engine)
  for (let seq = 1; seq <= 50; seq++) {
    t.strictSame(one.seqs, [seq])
    one.ack(seq)
    await settled(b.engine)
  }
  t.ok(entries <= 60, `${entries} entries read for 51 that were dealt`)
})
