/** Heads of conversations that are new: looked for once each, however many operations of a commit ask for them. */
import { join as joinPath } from 'node:path'
import { ClassicLevel } from 'classic-level'
import t from 'tap'
import { openLevelStore } from '../../broker/store/level/store.ts'
import { group, join, message } from './operations.ts'

await t.test('a new conversation of many operations', async t => {
  let iterators = 0
  const { iterator } = ClassicLevel.prototype as unknown as { iterator: (...args: unknown[]) => unknown }
  const counted = function (this: unknown, ...args: unknown[]): unknown {
    iterators++
    return Reflect.apply(iterator, this, args)
  }
  Object.assign(ClassicLevel.prototype, { iterator: counted })
  t.teardown(() => { Object.assign(ClassicLevel.prototype, { iterator }) })
  const store = await openLevelStore({ path: joinPath(t.testdir(), 'store') })
  t.teardown(() => store.close())
  iterators = 0
  await store.commit([group('g'), ...Array.from({ length: 1000 }, (_, i) => join('g', `user${i}`))])
  t.ok(iterators <= 1, `a group of a thousand members: ${iterators}`)
  t.equal(await store.groupSize('g'), 1000)
  iterators = 0
  const outcomes = await store.commit(Array.from({ length: 512 }, () => message('d:a:b', 'a')))
  t.ok(iterators <= 1, `messages: ${iterators}`)
  t.equal(outcomes.at(-1)?.seq, 512)
  iterators = 0
  await store.commit(Array.from({ length: 512 }, (_, i) => message(`d:a:c${i}`, 'a')))
  t.ok(iterators <= 1, `the first messages of many conversations: ${iterators}`)
  t.match(await store.heads(['d:a:c511']), [{ seq: 1, n: 1 }])
})
