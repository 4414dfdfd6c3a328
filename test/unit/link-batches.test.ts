/** What crosses between threads in batches arrives as it was, whatever is in a batch. */
import fc from 'fast-check'
import t from 'tap'
import { decodeOutputs, decodeSubmissions, encodeOutputs, encodeSubmissions, transferOf } from '../../broker/link/batches.ts'
import type { Output, Submission } from '../../broker/link/port.ts'

const bytes = fc.uint8Array({ maxLength: 40 })
const number = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER })
const name = fc.constantFrom('alice', 'bob', 'g:caf\u00e9', '')

/** Without members that are undefined: those are absent. */
function whole<T extends object> (value: T): T { return Object.fromEntries(Object.entries(value).filter(([, one]) => one !== undefined)) as T }

const submission: fc.Arbitrary<Submission> = fc.record({
  ref: number,
  session: name,
  user: name,
  target: fc.constantFrom<Submission['target'][]>({ kind: 'user', id: 'bob' }, { kind: 'group', id: 'g1', verb: 'read' }, { kind: 'rpc', method: 'unread' }) as fc.Arbitrary<Submission['target']>,
  payload: bytes,
  qos: fc.constantFrom<Submission['qos'][]>(0, 1, 2) as fc.Arbitrary<Submission['qos']>,
  packetId: fc.integer({ min: 0, max: 65_535 }),
  dup: fc.boolean(),
  resends: fc.option(fc.constantFrom({ epoch: 'e1' }, { epoch: 'e2', last: { epoch: 'e1', proven: 7 } }), { nil: undefined }),
  number: fc.option(number, { nil: undefined }),
  proven: fc.option(number, { nil: undefined }),
  cid: fc.option(fc.constant('will.1'), { nil: undefined }),
  key: fc.option(fc.constant('k-1'), { nil: undefined }),
  whole: fc.option(fc.constant(true as const), { nil: undefined }),
  rid: fc.option(fc.constant('r-1'), { nil: undefined }),
  contentType: fc.option(fc.constant('text/plain'), { nil: undefined }),
  utf8: fc.option(fc.boolean(), { nil: undefined }),
  expirySeconds: fc.option(number, { nil: undefined })
}).map(one => whole(one) as Submission)

const output: fc.Arbitrary<Output> = fc.oneof(
  fc.record({ kind: fc.constant('message'), conv: name, seq: number, from: name, payload: bytes, expiresAt: fc.option(number, { nil: undefined }) }),
  fc.record({ kind: fc.constant('verdict'), ref: number, ok: fc.constant(true), conv: name, id: fc.string(), seq: number }),
  fc.record({ kind: fc.constant('verdict'), ref: number, ok: fc.constant(true), rid: name, answer: bytes }),
  fc.record({ kind: fc.constant('verdict'), ref: number, ok: fc.constant(true) }),
  fc.record({ kind: fc.constant('verdict'), ref: number, ok: fc.constant(false), code: fc.constant('forbidden'), reason: fc.string() }),
  fc.record({ kind: fc.constant('verdict'), ref: number, ok: fc.constant('failed') }),
  fc.record({ kind: fc.constant('event'), user: name, seq: number, payload: bytes }),
  fc.record({ kind: fc.constant('notice'), user: name, payload: bytes }),
  fc.record({ kind: fc.constant('behind'), log: name, after: number, upTo: number, senders: fc.array(name, { maxLength: 2 }) }),
  fc.record({ kind: fc.constant('members'), gid: name, added: fc.array(fc.record({ user: name, joinedSeq: number }).map(whole), { maxLength: 2 }), removed: fc.array(name, { maxLength: 2 }) }),
  fc.record({ kind: fc.constant('intake'), full: fc.boolean() })
).map(one => whole(one) as Output)

await t.test('publishes', t => {
  fc.assert(fc.property(fc.array(submission, { maxLength: 30 }), all => {
    const batch = encodeSubmissions(all)
    const there = structuredClone(batch, { transfer: transferOf(batch) })
    t.strictSame(decodeSubmissions(there), all)
  }), { numRuns: 200 })
  t.end()
})

await t.test('outputs, in their order', t => {
  fc.assert(fc.property(fc.array(output, { maxLength: 30 }), all => {
    const batch = encodeOutputs(all)
    const there = structuredClone(batch, { transfer: transferOf(batch) })
    t.strictSame(decodeOutputs(there), all)
  }), { numRuns: 300 })
  t.end()
})

await t.test('bytes bring nothing else along, and the sender keeps its own', t => {
  const chunk = Buffer.alloc(65_536, 'x')
  const outputs: Output[] = [
    { kind: 'message', conv: 'd:a:b', seq: 1, from: 'a', payload: chunk.subarray(10, 13) },
    { kind: 'event', user: 'a', seq: 1, payload: chunk.subarray(1, 3) }
  ]
  const batch = encodeOutputs(outputs)
  const there = decodeOutputs(structuredClone(batch, { transfer: transferOf(batch) }))
  t.equal(there.reduce((sum, one) => sum + ('payload' in one ? one.payload.buffer.byteLength : 0), 0), 5)
  t.equal(chunk.length, 65_536)
  t.end()
})
