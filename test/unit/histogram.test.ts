/** Where a value is counted. */
import t from 'tap'
import { Histogram } from '../../broker/histogram.ts'

await t.test('a value lies in the first range whose end is not below it', t => {
  const histogram = new Histogram(5)
  for (const value of [0, 0.3, 1, 1.5, 2, 2.1, 4, 8, 8.5, 1e12]) histogram.add(value)
  t.strictSame(histogram.read(), { bounds: [1, 2, 4, 8], counts: [3, 2, 2, 1, 2], sum: 0.3 + 1 + 1.5 + 2 + 2.1 + 4 + 8 + 8.5 + 1e12 })
  t.end()
})

await t.test('ends are by the scale, several at once, and a clock that was set back takes nothing away', t => {
  const histogram = new Histogram(3, 1000)
  histogram.add(0.0011, 3)
  histogram.add(-5)
  histogram.add(0.002)
  histogram.add(1)
  const { bounds, counts, sum } = histogram.read()
  t.strictSame([bounds, counts], [[0.001, 0.002], [1, 4, 1]])
  t.ok(Math.abs(sum - 1.0053) < 1e-9)
  t.end()
})

await t.test('each end is the upper one of its range, whatever the scale', t => {
  for (const scale of [1, 1000, 2000]) {
    const { bounds } = new Histogram(18, scale).read()
    for (const [i, bound] of bounds.entries()) {
      const histogram = new Histogram(18, scale)
      histogram.add(bound)
      histogram.add(bound * 1.01)
      const { counts } = histogram.read()
      t.strictSame([counts[i], counts[i + 1]], [1, 1], `${bound} of ${scale}`)
    }
  }
  t.end()
})
