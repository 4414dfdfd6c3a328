/** Tables of no version are removed to make room; tables that a damaged manifest no longer names are not among them. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { records } from '../../broker/store/level/log-check.ts'
import { orphans, removeOrphans, versionOf } from '../../broker/store/level/manifest.ts'
import { openLevelStore } from '../../broker/store/level/store.ts'
import { message } from '../contract/operations.ts'

await t.test('a damaged manifest', async t => {
  const path = join(t.testdir(), 'store')
  const db = join(path, 'db')
  for (let i = 0; i < 2; i++) {
    const store = await openLevelStore({ path })
    await store.commit([message('d:a:b', 'a')])
    await store.close()
  }
  writeFileSync(join(db, '999999.ldb'), 'what a compaction left')
  t.same((await orphans(db)).map(({ file }) => file), [join(db, '999999.ldb')])

  const manifest = join(db, readFileSync(join(db, 'CURRENT'), 'utf8').trim())
  const whole = readFileSync(manifest)
  const ends = [...records(whole)].map(({ end }) => end)
  t.ok(ends.length > 2, 'more than one edit')
  const altered = Buffer.from(whole)
  const at = (ends[0] as number) + 8
  altered.writeUInt8(altered.readUInt8(at) ^ 1, at)
  writeFileSync(manifest, altered)
  t.same(await orphans(db), [], 'a record in the middle: nothing is known')
  await removeOrphans(db)

  const last = ends.at(-2) as number
  const bad = Buffer.from(whole)
  bad.writeUInt8(bad.readUInt8(last + 8) ^ 1, last + 8)
  t.equal(versionOf(bad), undefined, 'the last record: LevelDB refuses it too')
  t.ok(versionOf(whole.subarray(0, whole.length - 1)), 'a last record that was cut')
  t.ok(versionOf(whole.subarray(0, last + 3)), 'within its header')

  writeFileSync(manifest, whole)
  await removeOrphans(db)
  t.same(await orphans(db), [])
  const store = await openLevelStore({ path })
  t.equal((await store.messages('d:a:b', { limit: 9 })).length, 2)
  await store.close()
})
