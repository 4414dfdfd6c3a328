/** A store of format 2, whose rows have no checksums: read as it is, written with checksums, whole after a backup and its restore. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ClassicLevel } from 'classic-level'
import t from 'tap'
import { key } from '../../broker/store/level/keys.ts'
import { isSealed, unsealBytes } from '../../broker/store/level/seal.ts'
import { formatVersion, openLevelStore, restoreLevelBackup } from '../../broker/store/level/store.ts'
import type { Store } from '../../broker/store/store.ts'
import { message } from '../contract/operations.ts'

const conv = 'd:a:b'
/** A payload with U+001F where a checksum begins. */
const likeSealed = new Uint8Array([1, 2, 31, 0, 255, 128, 7, 1, 90])
const bytes = { keyEncoding: 'utf8', valueEncoding: 'view' } as const

/** Rows that have a checksum, and rows that should and have none. */
async function count (path: string): Promise<{ sealed: number, bare: number }> {
  const level = new ClassicLevel<string, Uint8Array>(join(path, 'db'), { ...bytes, createIfMissing: false })
  const found = { sealed: 0, bare: 0 }
  for await (const [name, value] of level.iterator()) {
    if (isSealed(name)) found[unsealBytes(name, value, false) === undefined ? 'bare' : 'sealed']++
  }
  await level.close()
  return found
}

/** Makes a store what version 2 would have written. */
async function downgrade (path: string): Promise<void> {
  const level = new ClassicLevel<string, Uint8Array>(join(path, 'db'), bytes)
  for await (const [name, value] of level.iterator()) {
    if (isSealed(name)) await level.put(name, unsealBytes(name, value, false) as Uint8Array)
  }
  await level.put(key.format(), Buffer.from('2'))
  await level.close()
  writeFileSync(join(path, 'sabethes.json'), '{"format":2,"kind":"store"}\n')
}

async function bodies (store: Store): Promise<string[]> { return (await store.messages(conv, { limit: 100 })).map(({ content }) => content) }

await t.test('format 2', async t => {
  const folder = t.testdir()
  const path = join(folder, 'store')
  let store = await openLevelStore({ path })
  const text = (i: number): string => `"body":"message ${i}, gr\u00fcn \ud83d\ude00"`
  for (let i = 1; i <= 10; i++) await store.commit([message(conv, 'a', { cid: `c${i} \ud800`, content: text(i) })])
  await store.records.write([{ key: 'r \ud800', value: new Uint8Array([1, 31, 200]) }, { key: 'p', value: likeSealed }], true)
  await store.close()
  await downgrade(path)
  t.match(await count(path), { sealed: 0 })

  const damage: string[] = []
  const options = { path, onDamage: (row: string) => { damage.push(row) } }
  for (let round = 0; round < 2; round++) {
    store = await openLevelStore(options)
    t.same(await bodies(store), Array.from({ length: 10 + round }, (_, i) => text(i + 1)))
    t.same(await store.records.get('p').catch(String), likeSealed, 'a payload of any bytes')
    t.match(JSON.parse(readFileSync(join(path, 'sabethes.json'), 'utf8')), { format: formatVersion })
    t.match(await store.commit([message(conv, 'a', { cid: `c${1 + round} \ud800` })]), [{ seq: 1 + round, replay: true }])
    await store.commit([message(conv, 'a', { content: text(11 + round) })])
    if (round === 1) await store.backup(join(folder, 'backup'))
    await store.close()
  }
  t.ok((await count(path)).bare > 0, 'what nobody wrote is as it was')
  t.same(damage, [])

  await restoreLevelBackup(join(folder, 'backup'), join(folder, 'restored'))
  t.match(await count(join(folder, 'restored')), { bare: 0 })
  store = await openLevelStore({ ...options, path: join(folder, 'restored') })
  t.same(await bodies(store), Array.from({ length: 12 }, (_, i) => text(i + 1)))
  t.same(await store.records.get('r \ud800'), new Uint8Array([1, 31, 200]))
  t.same(await store.records.get('p'), likeSealed)
  await store.close()
  t.same(damage, [])
})
