/** Memories of packet ids: those of earlier versions have no connection, and are no message's first try. */
import t from 'tap'
import { resendCodec } from '../../broker/store/level/codec.ts'
import { repeats } from '../../broker/store/resend.ts'
import type { NewMessage } from '../../broker/store/store.ts'

const resend = { session: 'alice/p', packetId: 1, digest: 'a.b', dup: true, epoch: 'e', number: 2, proven: 0 }
const op: NewMessage = { op: 'message', conv: 'd:alice:bob', from: 'alice', id: 'i', ts: 5, counts: true, marksSender: true, content: '', resend }

await t.test('a row of an earlier version', async t => {
  const row = resendCodec.decode('d:alice:bob 3 a.b4 3 2 the id', '')
  t.strictSame(row, { conv: 'd:alice:bob', digest: 'a.b', seq: 4, n: 3, ts: 2, id: 'the id' })
  t.equal(repeats(op, { ...row, epoch: row.epoch, number: row.number }, 1000), false)
  t.equal(resendCodec.encode(row), 'd:alice:bob 3 a.b4 3 2 the id')
})

await t.test('a row with its connection', async t => {
  const row = { conv: 'd:alice:bob', digest: 'a.b', seq: 4, n: 3, ts: 2, id: 'the id', epoch: 'e', number: 1 }
  t.strictSame(resendCodec.decode(resendCodec.encode(row), ''), row)
  t.equal(repeats(op, row, 1000), true)
  t.equal(repeats(op, row, 3), false, 'the window has ended')
})
