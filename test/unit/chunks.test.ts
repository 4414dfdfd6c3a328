/** Memory for output that is used again: never while somebody may still read it. */
import t from 'tap'
import { Chunks } from '../../broker/access/chunks.ts'

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

await t.test('a part that does not begin with the chunk, and more than a busy turn needs, are not kept', async t => {
  const chunks = new Chunks([16_384])
  const part = chunks.take(16_384)
  chunks.give(part.subarray(1))
  t.not(chunks.take(16_384).buffer, part.buffer)
  const many = Array.from({ length: 40 }, () => chunks.take(16_384))
  for (const one of many) chunks.give(one)
  const again = new Set(Array.from({ length: 40 }, () => chunks.take(16_384).buffer))
  t.equal(many.filter(one => again.has(one.buffer)).length, 32)
  t.equal(again.size, 40)
})
