/** The map of bounded weight: what is in it is the newest, and its weight is what it says. */
import fc from 'fast-check'
import t from 'tap'
import { WeightedLru } from '../../broker/store/cache/weighted-lru.ts'

const max = 40
const step = fc.record({ op: fc.constantFrom('set' as const, 'set' as const, 'get' as const, 'delete' as const), key: fc.nat({ max: 7 }), weight: fc.integer({ min: 1, max: 25 }) })

await t.test('whatever is done: never an old value, never more than may be', t => {
  fc.assert(fc.property(fc.array(step, { maxLength: 200 }), steps => {
    const map = new WeightedLru<{ weight: number }>(max, value => value.weight)
    const newest = new Map<string, { weight: number }>()
    for (const { op, key, weight } of steps) {
      const name = `k${key}`
      if (op === 'set') {
        const value = { weight }
        map.set(name, value)
        newest.set(name, value)
        if (weight <= max / 2 && map.get(name) !== value) throw new Error(`${name} was not kept`)
      } else if (op === 'delete') {
        map.delete(name)
        newest.delete(name)
      }
      const found = map.get(name)
      if (found !== undefined && found !== newest.get(name)) throw new Error(`${name} is not the newest`)
      if (map.weight > max) throw new Error(`a weight of ${map.weight}`)
    }
    for (const name of newest.keys()) map.delete(name)
    if (map.weight !== 0) throw new Error(`a weight of ${map.weight} is left`)
  }), { numRuns: 500 })
  t.end()
})

await t.test('what is used stays, what is not goes', t => {
  const map = new WeightedLru<number>(20, () => 1)
  map.set('used', 0)
  for (let i = 1; i <= 100; i++) {
    map.set(`k${i}`, i)
    t.ok(map.get('used') !== undefined)
  }
  t.equal(map.get('k1'), undefined)
  // Set again and again in its place, it moves nobody else out.
  for (let i = 0; i < 100; i++) map.set('k100', i)
  t.equal(map.get('k99'), 99)
  t.end()
})
