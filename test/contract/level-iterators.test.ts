/** Short ranges that are read at the same time share an iterator, and are what each would be alone. */
import { join } from 'node:path'
import { ClassicLevel } from 'classic-level'
import t from 'tap'
import { openLevelStore } from '../../broker/store/level/store.ts'
import { message } from './operations.ts'

const users = Array.from({ length: 1000 }, (_, i) => `user${i}`)
const groupsOf = (i: number): string[] => Array.from({ length: i % 7 }, (_, at) => `g${at}`)

await t.test('look-ups of a thousand users', async t => {
  let iterators = 0
  const { iterator } = ClassicLevel.prototype as unknown as { iterator: (...args: unknown[]) => unknown }
  const counted = function (this: unknown, ...args: unknown[]): unknown {
    iterators++
    return Reflect.apply(iterator, this, args)
  }
  Object.assign(ClassicLevel.prototype, { iterator: counted })
  t.teardown(() => { Object.assign(ClassicLevel.prototype, { iterator }) })
  const store = await openLevelStore({ path: join(t.testdir(), 'store'), cache: { members: 10, heads: 10 } })
  t.teardown(() => store.close())
  for (let at = 0; at < 7; at++) {
    const members = users.filter((_, i) => groupsOf(i).includes(`g${at}`)).map(user => ({ op: 'member' as const, gid: `g${at}`, user, role: 'member' as const }))
    if (members.length > 0) await store.commit([{ op: 'group', group: { gid: `g${at}`, name: 'g', owner: 'user0', createdAt: 1 } }, ...members])
  }
  await store.commit(users.map(user => message(`d:a:${user}`, 'a')))
  iterators = 0
  const found = await Promise.all(users.map(user => store.memberships(user, { kind: 'g', limit: 5 })))
  t.equal(iterators, 1)
  t.strictSame(found.map(rows => rows.map(row => row.conv)), users.map((_, i) => groupsOf(i).slice(0, 5).map(gid => `g:${gid}`)))
  const all = await Promise.all(['user999', 'zzz', 'a', 'user0'].map(user => store.memberships(user, { limit: 2000 })))
  t.strictSame(all.map(rows => rows.length), [1 + 999 % 7, 0, 1000, 1], 'long ones and those that are not there')
  iterators = 0
  t.equal((await store.memberships('a', { limit: 2000 })).length, 1000)
  t.equal(iterators, 1, 'alone: one of its own')
  const hidden = [1, 3, 5]
  await store.commit(Array.from({ length: 6 }, () => message('d:a:b', 'a')))
  await store.hide('b', 'd:a:b', hidden)
  const pages = await Promise.all([store.hidden('b', 'd:a:b', 0, 9), store.hidden('b', 'd:a:b', 1, 4), store.hidden('a', 'd:a:b', 0, 9)])
  t.strictSame(pages, [[1, 3, 5], [3], []])
})

await t.test('a store that is closed meanwhile', async t => {
  const store = await openLevelStore({ path: join(t.testdir(), 'store') })
  const asked = users.slice(0, 20).map(user => store.memberships(user, { limit: 5 }))
  const closed = store.close()
  for (const result of await Promise.allSettled(asked)) t.ok(['fulfilled', 'rejected'].includes(result.status))
  await closed
  await t.rejects(Promise.all(['a', 'b'].map(user => store.memberships(user, { limit: 5 }))))
})
