import t from 'tap'
import { KeyedQueue } from '../../broker/engine/keyed-queue.ts'
import { LookupCache } from '../../broker/engine/lookup-cache.ts'

await t.test('a warm look-up is synchronous; loads of one key are shared', async t => {
  let loads = 0
  const cache = new LookupCache(async key => { loads++; return key.toUpperCase() }, 10)
  t.same(await Promise.all([cache.get('__proto__'), cache.get('__proto__')]), ['__PROTO__', '__PROTO__'])
  t.equal(cache.get('__proto__'), '__PROTO__')
  t.equal(loads, 1)
})

await t.test('what was loaded before a change is not kept', async t => {
  let stored = 'old'
  let release: () => void = () => {}
  const held = new Promise<void>(resolve => { release = resolve })
  const cache = new LookupCache(async () => { const seen = stored; await held; return seen }, 10)
  const early = cache.get('k')
  stored = 'new'
  cache.forget('k')
  const late = cache.get('k')
  release()
  t.equal(await early, 'old')
  t.equal(await late, 'new')
  t.equal(cache.get('k'), 'new')
})

await t.test('it is bounded, and a failed load is tried again', async t => {
  let fail = false
  const cache = new LookupCache(async key => { if (fail) throw new Error('no'); return key }, 3)
  for (const key of ['a', 'b', 'c', 'd']) await cache.get(key)
  t.equal(cache.size, 3)
  fail = true
  await t.rejects(async () => await cache.get('x'), { message: 'no' })
  fail = false
  t.equal(await cache.get('x'), 'x')
})

await t.test('tasks of a key run one after the other, also behind a failed one; keys do not wait for each other', async t => {
  const queue = new KeyedQueue()
  const order: string[] = []
  let release: () => void = () => {}
  const held = new Promise<void>(resolve => { release = resolve })
  const first = queue.run('a', async () => { await held; order.push('a1'); throw new Error('a1') })
  const second = queue.run('a', async () => { order.push('a2'); return 2 })
  await queue.run('b', async () => { order.push('b') })
  release()
  await t.rejects(first, { message: 'a1' })
  t.equal(await second, 2)
  t.same(order, ['b', 'a1', 'a2'])
})
