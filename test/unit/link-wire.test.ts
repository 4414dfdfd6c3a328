import t from 'tap'
import { Refusal } from '../../broker/errors.ts'
import { exact } from '../../broker/link/bytes.ts'
import { fromWire, packed, toWire } from '../../broker/link/wire.ts'
import { StoreClosedError, StoreDamagedError, StoreUnavailableError } from '../../broker/store/errors.ts'

const over = <T>(value: T): T => structuredClone(value)

await t.test('errors come over as what they are', t => {
  const refusal = fromWire(over(toWire(new Refusal('rate_limited', 'slowly', 7))))
  t.ok(refusal instanceof Refusal)
  t.match(refusal, { code: 'rate_limited', message: 'slowly', retryAfterMs: 7 })
  for (const error of [new StoreUnavailableError('away'), new StoreDamagedError('rotten'), new StoreClosedError()]) {
    const back = fromWire(over(toWire(error)))
    t.equal(back.constructor, error.constructor)
    t.equal(back.message, error.message)
  }
  class PluginError extends Error { override readonly name = 'PluginError' }
  const problems = [{ path: ['end', 'size'], text: 'too large' }]
  const other = fromWire(over(toWire(Object.assign(new PluginError('broken'), { code: 'EACCES', problems }))))
  t.match(other, { name: 'PluginError', message: 'broken', code: 'EACCES', problems })
  t.match(other.stack, /link-wire\.test/)
  t.equal(fromWire(over(toWire('a string'))).message, 'a string')
  t.end()
})

await t.test('bytes of one message lie in one buffer, and bring nothing else along', t => {
  const chunk = Buffer.alloc(65_536, 'x')
  const items = [
    { ref: 1, payload: chunk.subarray(10, 13) },
    { ref: 2 },
    { ref: 3, answer: new Uint8Array([1, 2]) },
    { ref: 4, payload: new Uint8Array(0) }
  ]
  const { items: copies, buffer } = packed(items)
  t.equal(buffer?.byteLength, 5)
  const there = structuredClone(copies, { transfer: [buffer as ArrayBuffer] })
  t.same(there, [{ ref: 1, payload: new Uint8Array([120, 120, 120]) }, { ref: 2 }, { ref: 3, answer: new Uint8Array([1, 2]) }, { ref: 4, payload: new Uint8Array(0) }])
  t.equal(items[0]?.payload?.length, 3, 'the sender keeps its own')
  t.same(packed([{ ref: 1 }]), { items: [{ ref: 1 }], buffer: undefined })
  t.equal(exact(chunk.subarray(1, 3)).buffer.byteLength, 2)
  t.end()
})
