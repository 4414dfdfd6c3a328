/** What the engine was given and has not answered. */
import fc from 'fast-check'
import t from 'tap'
import { PendingPublishes } from '../../broker/gateway/connection/pending-publishes.ts'

await t.test('each is taken once, by its ref', t => {
  const pending = new PendingPublishes<string>()
  const [a, b] = [pending.add('a'), pending.add('b')]
  const nobody = pending.skip()
  const c = pending.add('c')
  t.equal(new Set([a, b, nobody, c]).size, 4)
  t.equal(pending.size, 3)
  t.equal(pending.take(nobody), undefined)
  t.equal(pending.take(0), undefined)
  t.equal(pending.take(b), 'b')
  t.equal(pending.take(b), undefined)
  t.equal(pending.take(a), 'a')
  t.equal(pending.take(c), 'c')
  t.equal(pending.size, 0)
  t.end()
})

await t.test('one that waits for long is there when many came and went', t => {
  const pending = new PendingPublishes<number>()
  const late = [pending.add(-1), pending.add(-2)]
  for (let i = 0; i < 200_000; i++) if (pending.take(pending.add(i)) !== i) t.fail(`${i}`)
  t.equal(pending.size, 2)
  t.equal(pending.take(late[1] as number), -2)
  t.equal(pending.take(late[0] as number), -1)
  t.equal(pending.take(late[0] as number), undefined)
  t.end()
})

await t.test('as a map does', t => {
  fc.assert(fc.property(fc.array(fc.record({ add: fc.integer({ min: 0, max: 3000 }), take: fc.integer({ min: 0, max: 3000 }), newest: fc.boolean() }), { maxLength: 12 }), steps => {
    const pending = new PendingPublishes<number>()
    const map = new Map<number, number>()
    let value = 0
    for (const { add, take, newest } of steps) {
      for (let i = 0; i < add; i++) map.set(pending.add(++value), value)
      const refs = [...map.keys()]
      for (const ref of newest ? refs.slice(-take) : refs.slice(0, take)) {
        if (pending.take(ref) !== map.get(ref)) throw new Error(`${ref}`)
        map.delete(ref)
      }
      if (pending.size !== map.size) throw new Error('size')
    }
    for (const [ref, one] of map) if (pending.take(ref) !== one || pending.take(ref) !== undefined) throw new Error(`${ref}`)
  }), { numRuns: 60 })
  t.end()
})
