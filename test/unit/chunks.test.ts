/** Memory for output that is used again: never while somebody may still read it. */
import t from 'tap'
import { Chunks } from '../../broker/gateway/chunks.ts'

await t.test('a chunk that was given comes again, those of other sizes do not', async t => {
  const chunks = new Chunks([16_384])
  const first = chunks.take(16_384)
  t.not(chunks.take(16_384).buffer, first.buffer, 'two that are in use are two')
  chunks.give(first.subarray(0, 10))
  t.equal(chunks.take(16_384).buffer, first.buffer)
  const small = chunks.take(1024)
  chunks.give(small)
  t.not(chunks.take(1024).buffer.byteLength, 16_384)
})

await t.test('more than a busy turn needs is not kept', async t => {
  const chunks = new Chunks([16_384])
  const many = Array.from({ length: 40 }, () => chunks.take(16_384))
  for (const one of many) chunks.give(one)
  const again = new Set(Array.from({ length: 40 }, () => chunks.take(16_384).buffer))
  t.equal(many.filter(one => again.has(one.buffer)).length, 32)
  t.equal(again.size, 40)
})

await t.test('memory that others share is never kept, whatever its size', async t => {
  const { poolSize } = Buffer
  t.teardown(() => { Buffer.poolSize = poolSize })
  for (const size of [16_384, 65_536]) {
    Buffer.poolSize = size
    const chunks = new Chunks([16_384, 65_536])
    // Until a slab of that size was begun and used up: one of the parts lies at its very beginning.
    for (let bytes = 0; bytes < 3 * 65_536; bytes += 1024) {
      const part = chunks.take(1024)
      chunks.give(part)
      t.not(chunks.take(size).buffer, part.buffer)
    }
    const foreign = Buffer.from(new ArrayBuffer(size))
    chunks.give(foreign)
    t.not(chunks.take(size).buffer, foreign.buffer, 'nor what somebody else allocated')
  }
})

await t.test('a chunk that is given twice is kept once', async t => {
  const chunks = new Chunks([16_384])
  const chunk = chunks.take(16_384)
  chunks.give(chunk)
  chunks.give(chunk.subarray(0, 100))
  t.not(chunks.take(16_384).buffer, chunks.take(16_384).buffer)
})
