/** Files of a store that are missing: nothing is made silently in their place. A first start that a crash cut is no such store. */
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import { formatVersion, openLevelStore, restoreLevelBackup } from '../../broker/store/level/store.ts'
import { message } from '../contract/operations.ts'
import { cli, freePort } from '../support/server.ts'

const conv = 'd:a:b'

/** A store with tables and a log; `copy` makes another one of it. */
async function filled (t: Test): Promise<{ path: string, copy: (name: string) => string }> {
  const folder = t.testdir()
  const path = join(folder, 'whole')
  for (let round = 0; round < 2; round++) {
    const store = await openLevelStore({ path })
    for (let i = 0; i < 50; i++) await store.commit([message(conv, 'a', { content: `"body":"${'x'.repeat(1000)}"` })])
    if (round === 1) await store.backup(join(folder, 'backup'))
    else {
      await store.close()
      continue
    }
    // As a crash leaves it: with a log that is not in a table yet.
    cpSync(path, join(folder, 'crashed'), { recursive: true })
    await store.close()
  }
  return { path: join(folder, 'crashed'), copy: name => { cpSync(join(folder, 'crashed'), join(folder, name), { recursive: true }); return join(folder, name) } }
}

await t.test('each file that is missing is told, and stays missing', async t => {
  const { path, copy } = await filled(t)
  const files = readdirSync(join(path, 'db')).filter(name => name !== 'LOCK' && !name.startsWith('LOG'))
  t.ok(['.log', '.ldb'].every(end => files.some(name => name.endsWith(end))) && files.some(name => name.startsWith('MANIFEST')), files.join())
  for (const name of ['', ...files]) {
    const broken = copy(`without-${name}`)
    rmSync(join(broken, 'db', name), { recursive: true })
    const before = existsSync(join(broken, 'db')) ? readdirSync(join(broken, 'db')).filter(one => !one.startsWith('LO')) : undefined
    for (let again = 0; again < 2; again++) {
      await t.rejects(openLevelStore({ path: broken }), { name: 'StoreFormatError', message: /incomplete.*restore/s }, name === '' ? 'db/' : name)
    }
    t.same(existsSync(join(broken, 'db')) ? readdirSync(join(broken, 'db')).filter(one => !one.startsWith('LO')) : undefined, before, 'nothing was made')
  }
  const empty = copy('empty')
  for (const name of readdirSync(join(empty, 'db'))) rmSync(join(empty, 'db', name))
  await t.rejects(openLevelStore({ path: empty }), { name: 'StoreFormatError', message: /incomplete/ })
  const whole = await openLevelStore({ path })
  t.equal((await whole.messages(conv, { limit: 1000 })).length, 100)
  await whole.close()
})

await t.test('serve and doctor say it; restore refuses such a backup', async t => {
  const { path, copy } = await filled(t)
  const data = copy('broken')
  rmSync(join(data, 'db', 'CURRENT'))
  const ports = ['--mqtt-port', String(await freePort()), '--http-port', String(await freePort()), '--data', data]
  const cwd = t.testdirName
  const serve = await cli(['serve', ...ports], { cwd })
  t.equal(serve.code, 1)
  t.match(serve.stderr, /incomplete.*CURRENT is missing.*restore/)
  const doctor = await cli(['doctor', ...ports], { cwd })
  t.equal(doctor.code, 1)
  t.match(doctor.stdout, /WRONG +store +.*incomplete/)
  const backup = join(path, '..', 'backup')
  for (const name of readdirSync(join(backup, 'db')).filter(name => name !== 'LOCK' && !name.startsWith('LOG'))) {
    const broken = join(path, '..', `backup-without-${name}`)
    cpSync(backup, broken, { recursive: true })
    rmSync(join(broken, 'db', name))
    const into = join(path, '..', `from-${name}`)
    await t.rejects(restoreLevelBackup(broken, into), { name: 'StoreFormatError', message: /damaged.*missing/ }, name)
    t.notOk(existsSync(join(into, 'sabethes.json')))
  }
  const altered = join(path, '..', 'altered')
  cpSync(backup, altered, { recursive: true })
  const table = join(altered, 'db', readdirSync(join(altered, 'db')).find(name => name.endsWith('.ldb')) as string)
  const bytes = readFileSync(table)
  bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] as number) ^ 1
  writeFileSync(table, bytes)
  await t.rejects(restoreLevelBackup(altered, join(path, '..', 'else')), { name: 'StoreFormatError', message: /damaged.*not as it was written/ })
  await restoreLevelBackup(backup, join(path, '..', 'restored'))
  const store = await openLevelStore({ path: join(path, '..', 'restored') })
  t.equal((await store.messages(conv, { limit: 1000 })).length, 100)
  await store.close()
})

await t.test('a first start that was cut at any place is made again', async t => {
  const folder = t.testdir()
  const cuts: Array<[string, (path: string) => void]> = [
    ['nothing yet', () => {}],
    ['the marker alone', path => { writeFileSync(join(path, 'sabethes.json'), JSON.stringify({ format: formatVersion, kind: 'new' })) }],
    ['a marker that is being written', path => { writeFileSync(join(path, '.sabethes.json.new'), '{') }],
    ['an empty db', path => {
      writeFileSync(join(path, 'sabethes.json'), JSON.stringify({ format: formatVersion, kind: 'new' }))
      mkdirSync(join(path, 'db'))
      writeFileSync(join(path, 'db', 'LOCK'), '')
    }]
  ]
  for (const [name, cut] of cuts) {
    const path = join(folder, name)
    mkdirSync(path)
    cut(path)
    const store = await openLevelStore({ path })
    t.match(await store.commit([message(conv, 'a')]), [{ seq: 1 }], name)
    await store.close()
    t.match(JSON.parse(readFileSync(join(path, 'sabethes.json'), 'utf8')), { kind: 'store', format: formatVersion })
  }
})

await t.test('no room for the first file: told as such, and the next start makes the store', async t => {
  const path = join(t.testdir({ store: {} }), 'store')
  symlinkSync('/dev/full', join(path, '.sabethes.json.new'))
  await t.rejects(openLevelStore({ path }), { name: 'StoreFullError', message: /no room on the disk of the store/ })
  rmSync(join(path, '.sabethes.json.new'))
  await (await openLevelStore({ path })).close()
})
