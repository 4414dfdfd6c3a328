/** The digests of publishes as text. */
import t from 'tap'
import { base36 } from '../../broker/engine/intake/new-message.ts'

await t.test('a number below 2³² reads as V8 writes it', t => {
  const edges = [36, 36 ** 2, 36 ** 3, 36 ** 4, 36 ** 5, 36 ** 6, 2 ** 31, 2 ** 32].flatMap(edge => [edge - 1, edge, edge + 1]).filter(n => n < 2 ** 32)
  for (let n = 1; n < 2 ** 32; n = n * 1.37 + 1) edges.push(Math.floor(n))
  for (const n of [0, 1, 35, ...edges]) t.equal(base36(n), n.toString(36))
  t.end()
})
