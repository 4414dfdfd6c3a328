/** Short ranges that are read by their keys, together with others'. */
import { ClassicLevel } from 'classic-level'
import { join } from 'node:path'
import t from 'tap'
import { openLevelStore } from '../../broker/store/level/store.ts'
import { key } from '../../broker/store/level/keys.ts'
import { message } from '../contract/operations.ts'

const content = `"body":"${'x'.repeat(65_000)}"`

await t.test('a page of messages keeps to its bytes, and what is read together has a bound', async t => {
  const path = join(t.testdir(), 'store')
  const store = await openLevelStore({ path })
  t.teardown(() => store.close())
  const convs = Array.from({ length: 64 }, (_, i) => `d:a:u${String(i).padStart(2, '0')}`)
  for (const conv of convs) for (let i = 0; i < 8; i++) await store.commit([message(conv, 'a', { content })])
  const proto = Object.getPrototypeOf(ClassicLevel.prototype) as { getMany: (...args: unknown[]) => Promise<Array<string | undefined>> }
  const { getMany } = proto
  let largest = 0
  let all = 0
  proto.getMany = async function (...args) {
    const values = await getMany.apply(this, args)
    const bytes = values.reduce((sum, value) => sum + (value?.length ?? 0), 0)
    largest = Math.max(largest, bytes)
    all += bytes
    return values
  }
  t.teardown(() => { proto.getMany = getMany })
  const pages = await Promise.all(convs.map(conv => store.messages(conv, { after: 0, before: 9, limit: 8, maxBytes: 65_536 })))
  const used = pages.flat().reduce((sum, one) => sum + one.content.length, 0)
  t.ok(largest < 2 * 1024 * 1024, `${largest} bytes in one read (a step of a scan: 256 kB)`)
  t.ok(all < 4 * used, `${all} bytes were read for ${used}`)
})

await t.test('what is hidden and cannot be read is not shown', async t => {
  const path = join(t.testdir(), 'store')
  let store = await openLevelStore({ path })
  for (let i = 0; i < 20; i++) await store.commit([message('d:a:b', 'a', { content: '"body":"x"' })])
  await store.hide('b', 'd:a:b', [3])
  await store.close()
  store = await openLevelStore({ path })
  t.teardown(() => store.close())
  const proto = Object.getPrototypeOf(ClassicLevel.prototype) as { getMany: (...args: unknown[]) => Promise<unknown>, get: (...args: unknown[]) => Promise<unknown>, iterator: (...args: unknown[]) => { nextv: unknown, seek: unknown } }
  const { getMany, iterator } = proto
  const broken = (): Error => Object.assign(new Error('Corruption: block'), { code: 'LEVEL_CORRUPTION' })
  const hidden = key.hidden('b', 'd:a:b', 3)
  // LevelDB cannot read the block in which the row is.
  proto.getMany = async function (...args) {
    if ((args[0] as string[]).includes(hidden)) throw broken()
    return await getMany.apply(this, args)
  }
  proto.iterator = function (...args) {
    const made = iterator.apply(this, args)
    made.nextv = async () => { throw broken() }
    return made
  }
  t.teardown(() => { Object.assign(proto, { getMany, iterator }) })
  await t.rejects(store.hidden('b', 'd:a:b', 0, 20), 'a long range says so')
  await t.rejects(store.hidden('b', 'd:a:b', 0, 8), 'a short range says so, too')
})
