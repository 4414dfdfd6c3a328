/** Pages of a long conversation list, from the disk and from memory: nobody may be left out, whoever comes and goes meanwhile. */
import { join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import { openLevelStore } from '../../broker/store/level/store.ts'
import type { Store } from '../../broker/store/store.ts'
import { message } from './operations.ts'

const count = 1_300

async function filled (t: Test, cache = {}): Promise<Store> {
  const store = await openLevelStore({ path: join(t.testdir(), 'store'), cache })
  t.teardown(() => store.close())
  await store.commit(Array.from({ length: count }, (_, i) => message(conv(i), 'bob')))
  return store
}

const conv = (i: number): string => `d:bob:peer${i}`
const all = Array.from({ length: count }, (_, i) => conv(i)).sort()

async function pages (store: Store, limit: number, between?: () => Promise<void>): Promise<string[]> {
  const seen: string[] = []
  for (let after: string | undefined; ;) {
    const page = await store.conversations('bob', { limit, ...(after === undefined ? {} : { after }) })
    seen.push(...page.map(one => one.member.conv))
    if (page.length < limit) return seen
    after = seen.at(-1)
    await between?.()
  }
}

for (const [name, cache] of [['in memory', {}], ['too long for the memory', { lists: count }], ['one that just fits', { lists: 2 * count }]] as const) {
  await t.test(`pages of any size, ${name}`, async t => {
    const store = await filled(t, cache)
    for (const limit of [500, 100, count, count + 1, 251]) t.strictSame(await pages(store, limit), all, `by ${limit}`)
    t.strictSame((await store.conversations('bob', { limit: 3, after: 'd:bob:peer5' })).map(one => one.member.conv), ['d:bob:peer50', 'd:bob:peer500', 'd:bob:peer501'], 'from any place')
    t.strictSame(await store.conversations('bob', { limit: 3, after: 'z' }), [])
  })
}

await t.test('a conversation that begins between two pages', async t => {
  const store = await filled(t)
  await pages(store, 500)
  let begun = false
  const seen = await pages(store, 500, async () => {
    if (begun) return
    begun = true
    await store.commit([message('d:bob:z', 'bob')])
  })
  t.strictSame(seen, [...all, 'd:bob:z'])
})

await t.test('groups that are left, and a page is as long as it is asked for', async t => {
  const store = await filled(t)
  const gids = Array.from({ length: 300 }, (_, i) => `g${i}`)
  await store.commit(gids.flatMap(gid => [{ op: 'group' as const, group: { gid, name: gid, owner: 'bob', createdAt: 1 } }, { op: 'member' as const, gid, user: 'bob', role: 'owner' as const }]))
  await pages(store, 500)
  let left = false
  const seen = await pages(store, 500, async () => {
    if (left) return
    left = true
    await store.commit(gids.slice(10).map(gid => ({ op: 'member.drop' as const, gid, user: 'bob' })))
  })
  t.strictSame(seen, [...all, ...gids.slice(0, 10).map(gid => `g:${gid}`)])
})

await t.test('pages by kind are the same from memory and from disk, while users come and go', async t => {
  const [kept, read] = await Promise.all([{}, { lists: 2 }].map(async (cache, i) => {
    const store = await openLevelStore({ path: join(t.testdir(), `store${i}`), cache })
    t.teardown(() => store.close())
    return store
  })) as [Store, Store]
  let random = 1
  const next = (max: number): number => (random = random * 48271 % 2147483647) % max
  const gids = Array.from({ length: 40 }, (_, i) => `g${i}`)
  for (const store of [kept, read]) {
    await store.commit(gids.flatMap(gid => [{ op: 'group' as const, group: { gid, name: gid, owner: 'zoe', createdAt: 1 } }, { op: 'member' as const, gid, user: 'zoe', role: 'owner' as const }]))
  }
  const users = ['bob', 'bo', 'bob-2', 'eve']
  const inGroup = new Set<string>()
  for (let round = 0; round < 150; round++) {
    const user = users[next(users.length)] as string
    const gid = gids[next(gids.length)] as string
    const inside = inGroup.has(`${user} ${gid}`)
    const change = next(3) === 0
      ? message(`d:${user}:peer${next(30)}`, user)
      : inside ? { op: 'member.drop' as const, gid, user } : { op: 'member' as const, gid, user, role: 'member' as const }
    if (change.op !== 'message') inGroup[inside ? 'delete' : 'add'](`${user} ${gid}`)
    // A reader whose page is under way when the change comes keeps nothing of it.
    const early = [kept.memberships(user, { limit: 5 }), kept.memberships(user, { kind: 'g', limit: 100 })]
    await Promise.all([kept.commit([change]), read.commit([change]), ...early])
    const asked = { limit: 1 + next(40), ...(next(3) > 0 ? { kind: next(2) === 0 ? 'd' as const : 'g' as const } : {}), ...(next(2) === 0 ? { after: ['d:bob:peer2', 'g:g2', 'g:', 'z', 'a'][next(5)] as string } : {}) }
    for (const who of users) {
      t.strictSame(await kept.memberships(who, asked), await read.memberships(who, asked), `${who} ${JSON.stringify(asked)}`)
      t.strictSame(await kept.memberships(who, { kind: 'g', limit: 100 }), await read.memberships(who, { kind: 'g', limit: 100 }))
    }
  }
  t.ok(inGroup.size > 20)
})
