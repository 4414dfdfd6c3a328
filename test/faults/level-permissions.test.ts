/** A store is its owner's alone: files that are made, files that an older version left open, backups, and what doctor says of it. */
import { chmodSync, cpSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { openLevelStore, restoreLevelBackup } from '../../broker/store/level/store.ts'
import { message } from '../contract/operations.ts'
import { cli, freePort, startServer } from '../support/server.ts'

/** Every file and folder with its mode. */
function modes (path: string): Map<string, number> {
  const found = new Map([[path, statSync(path).mode & 0o777]])
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    const one = join(path, entry.name)
    if (entry.isDirectory()) for (const [name, mode] of modes(one)) found.set(name, mode)
    else found.set(one, statSync(one).mode & 0o777)
  }
  return found
}
const open = (path: string): string[] => [...modes(path)].filter(([, mode]) => (mode & 0o077) !== 0).map(([name, mode]) => `${name} ${mode.toString(8)}`)

await t.test('what is made, what was left open, copies', async t => {
  const before = process.umask(0o022)
  t.teardown(() => { process.umask(before) })
  const folder = t.testdir()
  const path = join(folder, 'store')
  const store = await openLevelStore({ path })
  for (let i = 0; i < 20; i++) await store.commit([message('d:a:b', 'a')])
  await store.backup(join(folder, 'backup'))
  t.same(open(join(folder, 'backup')), [])
  t.equal(statSync(path).mode & 0o777, 0o700, 'nobody else comes to files that LevelDB makes later')
  await store.close()
  await restoreLevelBackup(join(folder, 'backup'), join(folder, 'restored'))
  t.same(open(join(folder, 'restored')), [])
  cpSync(path, join(folder, 'old'), { recursive: true })
  for (const [name] of modes(join(folder, 'old'))) chmodSync(name, statSync(name).isDirectory() ? 0o755 : 0o644)
  const again = await openLevelStore({ path: join(folder, 'old') })
  t.same(open(join(folder, 'old')), [])
  await again.close()
})

await t.test('a server and its commands', async t => {
  const server = await startServer(t)
  t.same(open(server.data), [])
  await server.stop()
  const ports = ['--mqtt-port', String(await freePort()), '--http-port', String(await freePort()), '--data', server.data]
  const doctor = async (): Promise<string> => (await cli(['doctor', ...ports], { cwd: t.testdirName })).stdout
  t.match(await doctor(), /ok +permissions/)
  chmodSync(server.data, 0o755)
  t.match(await doctor(), /WRONG +permissions +.*0755.*chmod/)
  chmodSync(server.data, 0o755)
  await server.restart()
  t.same(open(server.data), [], 'a start closes it')
  const copy = join(t.testdirName, 'copy')
  t.equal((await cli(['backup', copy, '--config', server.configPath, '--data', server.data], { cwd: t.testdirName })).code, 0)
  t.same(open(copy), [])
})
