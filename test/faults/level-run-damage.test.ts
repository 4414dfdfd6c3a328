/** Runs of messages that are damaged: each message of them has its place, and nothing else is lost with them. */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ClassicLevel } from 'classic-level'
import t from 'tap'
import { key } from '../../broker/store/level/keys.ts'
import { openLevelStore } from '../../broker/store/level/store.ts'
import { conv, numbered } from '../contract/operations.ts'

await t.test('a run that is altered: its messages have their places, whatever is asked for', async t => {
  const path = join(t.testdir(), 'store')
  let store = await openLevelStore({ path })
  for (let from = 1; from <= 41; from += 10) await store.commit(numbered(from, 10))
  await store.close()
  const level = new ClassicLevel<string, string>(join(path, 'db'), { createIfMissing: false })
  const name = key.message(2, conv, 20)
  await level.put(name, (await level.get(name) as string).replace('message 15', 'message 51'))
  await level.close()
  const damage: string[] = []
  store = await openLevelStore({ path, onDamage: row => { damage.push(row) } })
  t.teardown(() => store.close())
  const expected = (seq: number): string => seq > 10 && seq <= 20 ? `damaged-${seq}` : `m${seq}`
  const wrong: unknown[] = []
  for (const after of [0, 8, 9, 10, 11, 15, 19, 20, 21]) {
    for (const before of [10, 11, 12, 20, 21, 22, 51]) {
      for (const limit of [1, 2, 3, 15, 100]) {
        for (const newest of [false, true]) {
          const inside = Array.from({ length: 50 }, (_, i) => i + 1).filter(seq => seq > after && seq < before)
          const wanted = newest ? inside.slice(-limit) : inside.slice(0, limit)
          const found = await store.messages(conv, { after, before, limit, newest })
          if (found.map(({ id }) => id).join() !== wanted.map(expected).join()) wrong.push({ after, before, limit, newest, found: found.map(({ id }) => id).join() })
        }
      }
    }
  }
  t.same(wrong, [])
  t.same((await store.messagesAt([9, 10, 11, 15, 20, 21, 51].map(seq => ({ conv, seq })))).map(one => one?.id), ['m9', 'm10', 'damaged-11', 'damaged-15', 'damaged-20', 'm21', undefined])
  t.ok(damage.every(row => row.startsWith('l\x00')))
  t.equal(await store.purge(26, 1000), 15)
  t.same((await store.messages(conv, { limit: 2 })).map(({ id }) => id), ['m26', 'm27'])
})

await t.test('a part of a table that cannot be read: what is whole is served, and the rest has its place', async t => {
  const path = join(t.testdir(), 'store')
  let store = await openLevelStore({ path })
  const noise = (from: number): string => createHash('sha512').update(`${from}`).digest('base64')
  for (let from = 1; from <= 1500; from += 10) await store.commit(numbered(from, 10, `"body":"${noise(from)}"`))
  await store.close()
  const tables = readdirSync(join(path, 'db')).filter(file => file.endsWith('.ldb')).map(file => join(path, 'db', file))
  const table = tables.sort((a, b) => statSync(b).size - statSync(a).size)[0] as string
  const bytes = readFileSync(table)
  const middle = bytes.indexOf(Buffer.from(noise(751).slice(0, 20)))
  t.ok(middle > 0)
  writeFileSync(table, bytes.fill(255, middle - 3000, middle + 3000))
  store = await openLevelStore({ path })
  t.teardown(() => store.close())
  const damaged = (messages: ReadonlyArray<{ id: string }>): number => messages.filter(({ id }) => id.startsWith('damaged')).length
  const all = await store.messages(conv, { limit: 5000 })
  t.same(all.map(({ seq }) => seq), Array.from({ length: 1500 }, (_, i) => i + 1))
  t.ok(damaged(all) > 0 && damaged(all) < 1000, `${damaged(all)} damaged`)
  t.equal(damaged(await store.messages(conv, { limit: 5000, newest: true })), damaged(all))
  const at = await store.messagesAt(all.map(({ seq }) => ({ conv, seq })))
  t.equal(at.filter(one => one === undefined).length, 0)
  t.equal(damaged(at as Array<{ id: string }>), damaged(all))
})
