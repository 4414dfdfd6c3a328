/** What is remembered of resends that failed; `test/faults/level-resends.test.ts` shows what it is for. */
import t from 'tap'
import type { Entry } from '../../broker/engine/commit/commit-queue.ts'
import { Doubts } from '../../broker/engine/commit/doubts.ts'
import type { NewMessage, Resend } from '../../broker/store/store.ts'
import { direct, message } from '../contract/operations.ts'

function resend (packetId: number, epoch: string, last?: string, more: Partial<Resend> = {}): Resend {
  return { session: 'alice/phone', packetId, digest: 'd', dup: true, epoch, number: 1, proven: 0, ...last === undefined ? {} : { last: { epoch: last, proven: 0 } }, ...more }
}

function entryOf (one: Resend): Entry & { message: NewMessage } {
  return { kind: 'message', session: one.session, ref: 1, message: message(direct, 'alice', { resend: one }), draft: undefined as never, whole: false }
}

/** The connections on which it may have come, beside its own and the one before it. */
function earlier (doubts: Doubts, one: Resend): string[] {
  const entry = entryOf(one)
  doubts.recall([entry])
  return (entry.message.resend?.earlier ?? []).map(mark => mark.epoch)
}

await t.test('connections in a row', async t => {
  const doubts = new Doubts()
  doubts.failed([entryOf(resend(7, 'e1', 'e0'))])
  t.same(earlier(doubts, resend(7, 'e2', 'e1')), ['e0'])
  t.same(earlier(doubts, resend(7, 'e1', 'e0')), [], 'on the same connection that is the last one')
  t.same(earlier(doubts, resend(8, 'e2', 'e1')), [], 'another packet id')
  t.same(earlier(doubts, resend(7, 'e2', 'e1', { session: 'alice/tablet' })), [], 'another session')
  t.same(earlier(doubts, resend(7, 'e2', 'e1', { digest: 'other' })), [], 'other content')
  t.same(earlier(doubts, resend(7, 'e2', 'e1', { dup: false })), [], 'a new message')
  t.same(earlier(doubts, resend(7, 'e3', 'e2')), [], 'another connection between')
  for (let i = 1; i < 40; i++) doubts.failed([entryOf(resend(7, `e${i}`, `e${i - 1}`)), entryOf(resend(7, `e${i}`, `e${i - 1}`))])
  t.same(earlier(doubts, resend(7, 'e40', 'e39')), Array.from({ length: 16 }, (_, i) => `e${38 - i}`), 'bounded')
})

await t.test('it ends with an answer, and with a new message', async t => {
  const doubts = new Doubts()
  doubts.failed([entryOf(resend(7, 'e1', 'e0')), entryOf(resend(8, 'e1', 'e0')), entryOf(resend(9, 'e1', 'e0'))])
  doubts.committed([entryOf(resend(7, 'e2', 'e1'))])
  t.same(earlier(doubts, resend(7, 'e2', 'e1')), [])
  doubts.failed([entryOf(resend(8, 'e1', 'e0', { dup: false }))])
  t.same(earlier(doubts, resend(8, 'e2', 'e1')), [])
  t.same(earlier(doubts, resend(9, 'e2', 'e1')), ['e0'])
  doubts.failed([entryOf(resend(10, 'e1'))])
  t.equal(doubts.size, 1, 'on a first connection nothing is in doubt')
})

await t.test('what failed before it had a row keeps its place', async t => {
  const doubts = new Doubts()
  const { conv } = message(direct, 'alice')
  const verdict: Entry = { kind: 'verdict', session: 'alice/phone', verdict: { kind: 'verdict', ref: 2, ok: 'failed' }, unstored: { conv, resend: resend(7, 'e1', 'e0') } }
  doubts.committed([entryOf(resend(7, 'e1', 'e0')), verdict])
  t.same(earlier(doubts, resend(7, 'e2', 'e1')), ['e0'])
  doubts.committed([verdict, entryOf(resend(7, 'e1', 'e0'))])
  t.equal(doubts.size, 0)
})

await t.test('the oldest make way', async t => {
  const doubts = new Doubts(2)
  for (const packetId of [1, 2, 3]) doubts.failed([entryOf(resend(packetId, 'e1', 'e0'))])
  t.equal(doubts.size, 2)
  t.same([1, 2, 3].map(packetId => earlier(doubts, resend(packetId, 'e2', 'e1')).length), [0, 1, 1])
})
