/** A store as a file of lines (`sabethes export`), and back (`sabethes import`). */
import { existsSync, readFileSync, readdirSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync, gzipSync } from 'node:zlib'
import t from 'tap'
import { openArchiveSource } from '../../broker/migrate/archive-source.ts'
import { ArchiveTarget } from '../../broker/migrate/archive-target.ts'
import { openLevelStore } from '../../broker/store/level/store.ts'
import { openLevelSource, openLevelTarget } from '../../broker/store/level/transfer.ts'
import { openMongoStore } from '../../broker/store/mongodb/store.ts'
import { openMongoSource, openMongoTarget } from '../../broker/store/mongodb/transfer.ts'
import { transferKinds, type TransferTarget } from '../../broker/store/transfer.ts'
import { failing, fillStore, move, seen, withStore } from '../support/migration.ts'
import { mongodbServer } from '../support/mongodb.ts'

const folder = t.testdir()
const filled = join(folder, 'filled')
const before = await withStore(openLevelStore({ path: filled }), async store => {
  await fillStore(store)
  return await seen(store)
})
const exported = (path: string, wrap?: (target: TransferTarget) => TransferTarget): ReturnType<typeof move> => move([openLevelSource(filled), Promise.resolve(new ArchiveTarget(path))], wrap)
const imported = (path: string, to: string, wrap?: (target: TransferTarget) => TransferTarget): ReturnType<typeof move> => move([openArchiveSource(path), openLevelTarget(to)], wrap)

const packed = join(folder, 'all.ndjson.gz')
const plain = join(folder, 'all.ndjson')

await t.test('out and in again, packed and plain, interrupted', async t => {
  for (const path of [packed, plain]) {
    await t.rejects(exported(path, target => failing(target, 3, false)), { message: 'interrupted' })
    await t.rejects(openArchiveSource(path), /cannot be read: ENOENT/, 'only a whole one gets its name')
    await t.rejects(exported(path, target => failing(target, 5, true)), { message: 'interrupted' })
    // What a crash leaves behind the last row that counts.
    writeFileSync(`${path}.part`, 'half a row', { flag: 'a' })
    const report = await exported(path)
    t.equal(report.resumed, true)
    for (const kind of transferKinds) t.ok(report.kinds[kind].rows > 0, `rows of kind ${kind}`)
    t.equal(statSync(path).mode & 0o777, 0o600, 'for its user alone: hashes of passwords are in it')
    t.same(readdirSync(folder).filter(name => name.includes('.part')), [], 'nothing else is left')
    await t.rejects(exported(path), /exists: an export does not replace what is there/)

    const to = `${path}-store`
    await t.rejects(imported(path, to, target => failing(target, 2, false)), { message: 'interrupted' })
    await t.rejects(openLevelStore({ path: to }), { name: 'StoreFormatError' }, 'no server takes a half of it')
    await t.rejects(imported(path, to, target => failing(target, 6, true)), { message: 'interrupted' })
    const back = await imported(path, to)
    t.equal(back.resumed, true)
    t.same(back.kinds, report.kinds)
    t.same(await withStore(openLevelStore({ path: to }), seen), before, 'readers see the same')
    await t.rejects(imported(path, to), /is not empty/)
  }
  t.ok(statSync(packed).size < statSync(plain).size / 2)
  const lines = (path: string, text = readFileSync(path)): string[] => (path.endsWith('.gz') ? gunzipSync(text) : text).toString().split('\n').slice(1)
  t.same(lines(packed), lines(plain), 'any gzip reads it')
})

await t.test('of how far it is nothing is left: the export starts again', async t => {
  const path = join(folder, 'again.ndjson')
  await t.rejects(exported(path, target => failing(target, 3, true)), { message: 'interrupted' })
  writeFileSync(`${path}.part.json`, '')
  t.equal((await exported(path)).resumed, false)
  t.equal(readFileSync(path, 'utf8').split('\n').slice(1).join('\n'), readFileSync(plain, 'utf8').split('\n').slice(1).join('\n'))
})

await t.test('to MongoDB and out of it', async t => {
  const server = await mongodbServer(t)
  if (server === undefined) return
  const { url, database } = server
  const there = (wrap?: (target: TransferTarget) => TransferTarget): ReturnType<typeof move> => move([openArchiveSource(packed), openMongoTarget({ url, database })], wrap)
  await t.rejects(there(target => failing(target, 7, true)), { message: 'interrupted' })
  await t.rejects(move([openArchiveSource(plain), openMongoTarget({ url, database })]), /holds an unfinished migration from export /, 'not with another export')
  const report = await there()
  t.equal(report.resumed, true)
  t.same(await withStore(openMongoStore({ url, database }), seen), before)
  const path = join(folder, 'mongodb.ndjson.gz')
  t.same((await move([openMongoSource({ url, database }), Promise.resolve(new ArchiveTarget(path))])).kinds, report.kinds)
  await imported(path, join(folder, 'home'))
  t.same(await withStore(openLevelStore({ path: join(folder, 'home') }), seen), before, 'and home')
})

await t.test('packed anew by others, and renamed meanwhile', async t => {
  const [one, other] = [join(folder, 'one.gz'), join(folder, 'other')]
  writeFileSync(one, gzipSync(gunzipSync(readFileSync(packed))))
  writeFileSync(other, gunzipSync(readFileSync(packed)))
  const to = join(folder, 'renamed')
  await t.rejects(imported(one, to, target => failing(target, 4, true)), { message: 'interrupted' })
  t.match(await imported(other, to), { resumed: true })
  t.same(await withStore(openLevelStore({ path: to }), seen), before)
})

await t.test('what is damaged is not moved', async t => {
  const text = readFileSync(plain, 'utf8')
  const lines = text.split('\n')
  const first = (kind: string): number => lines.findIndex(line => line.startsWith(`{"${kind}":`))
  const changed = (at: number, line: string): string => lines.toSpliced(at, 1, line).join('\n')
  const cases: Array<[string, string | Buffer, RegExp]> = [
    ['nothing', '', /is no export/],
    ['another file', '{"a":1}\n', /line 1 .* is no line of an export/],
    ['no JSON', 'user,name\n', /line 1 .* is not JSON/],
    ['of a later version', text.replace('"version":1', '"version":2'), /has version 2, and this program knows version 1/],
    ['without its end', lines.slice(0, -2).join('\n') + '\n', /is not whole: its export was interrupted/],
    ['in the middle of a line', text.slice(0, text.length / 2), /is cut short in line \d+/],
    ['a row changed', changed(first('message'), (lines[first('message')] as string).replace('nr ', 'no ')), /is damaged: message has \d+ rows with sum/],
    ['a row gone', lines.toSpliced(first('member'), 1).join('\n'), /is damaged: member has \d+ rows/],
    ['a row doubled', lines.toSpliced(first('member'), 0, lines[first('member')] as string).join('\n'), /is damaged: member has \d+ rows/],
    ['out of order', lines.toSpliced(first('message'), 0, lines[first('user')] as string).join('\n'), /'user' comes behind '\w+'/],
    ['of an unknown kind', lines.toSpliced(1, 0, '{"pet":{"name":"Rex"}}').join('\n'), /a kind that this version does not know: 'pet'/],
    ['a second header', lines.toSpliced(4, 0, lines[0] as string).join('\n'), /line 5 .* is no row/],
    ['packed, cut short', readFileSync(packed).subarray(0, -20), /is damaged or cut short behind line \d+: unexpected end of file/],
    ['packed, a byte changed', (() => {
      const bytes = readFileSync(packed)
      bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] as number) ^ 1
      return bytes
    })(), /is damaged|is no line|is not JSON/]
  ]
  for (const [name, content, message] of cases) {
    const path = join(folder, 'damaged')
    const to = join(folder, `to ${name}`)
    writeFileSync(path, content)
    await t.rejects(imported(path, to), { name: 'TransferError', message }, name)
    t.notOk(existsSync(join(to, 'sabethes.json')), `${name}: nothing was made a store`)
  }
})

await t.test('what an export has lost meanwhile', async t => {
  const path = join(folder, 'lost.ndjson')
  await t.rejects(exported(path, target => failing(target, 5, true)), { message: 'interrupted' })
  truncateSync(`${path}.part`, 100)
  await t.rejects(exported(path), /has lost what was written: remove it and start again/)
})
