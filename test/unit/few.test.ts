/** A few go on at a time. */
import t from 'tap'
import { Few } from '../../broker/few.ts'

await t.test('who finds a place goes on at once, the others in their order', async t => {
  const few = new Few(2)
  const inside: number[] = []
  for (let i = 0; i < 5; i++) few.enter(() => { inside.push(i) })
  t.same(inside, [0, 1])
  few.leave()
  t.same(inside, [0, 1, 2])
  few.leave()
  few.leave()
  few.leave()
  t.same(inside, [0, 1, 2, 3, 4])
  few.enter(() => { inside.push(5) })
  t.same(inside, [0, 1, 2, 3, 4, 5])
  few.enter(() => { inside.push(6) })
  t.same(inside, [0, 1, 2, 3, 4, 5], 'four and five are there')
  few.leave()
  t.same(inside.at(-1), 6)
})

await t.test('a long line', async t => {
  const few = new Few(1)
  const order: number[] = []
  for (let i = 0; i < 5000; i++) few.enter(() => { order.push(i) })
  for (let i = 0; i < 4999; i++) few.leave()
  t.same(order, Array.from({ length: 5000 }, (_, i) => i))
})

await t.test('who leaves at once lets the next one in from there', async t => {
  const few = new Few(1)
  const order: number[] = []
  few.enter(() => {})
  for (let i = 0; i < 100_000; i++) few.enter(() => { order.push(i); few.leave() })
  few.leave()
  t.equal(order.length, 100_000)
  few.enter(() => { order.push(-1) })
  t.equal(order.at(-1), -1)
})
