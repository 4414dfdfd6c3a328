/** What the operator's commands may touch: no plugin's code, and no backup into what is backed up. */
import { existsSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { cli, startServer } from '../support/server.ts'

/** A plugin that leaves a mark wherever its code runs. */
const marking = (mark: string): string => `
import { writeFileSync } from 'node:fs'
writeFileSync(${JSON.stringify(mark)}, '')
const options = { safeParse: value => ({ success: true, data: value }) }
export default { name: 'marking', description: 'leaves a mark', options, timeoutMs: 10, onFailure: 'pass', start: () => ({}) }
`

await t.test("commands on a store run nobody's plugins", async t => {
  const folder = t.testdir()
  const mark = join(folder, 'mark')
  writeFileSync(join(folder, 'marking.mjs'), marking(mark))
  writeFileSync(join(folder, 'sabethes.yaml'), JSON.stringify({ store: { driver: 'level' }, plugins: { './marking.mjs': { enabled: true }, 'block-list': { enabled: false } } }))
  const here = { cwd: folder }
  // The store's own commands come to the same place; these are one of each kind.
  for (const args of [['user', 'add', 'bob', '--no-password'], ['user', 'list'], ['backup', join(folder, 'copy')], ['purge'], ['plugin', 'list']]) {
    const { code, stderr } = await cli(args, here)
    t.equal(code, 0, `${args.join(' ')}: ${stderr}`)
    t.notOk(existsSync(mark), `${args[0]} ${args[1]} runs no plugin`)
  }
  const shown = await cli(['plugin', 'list', '--json'], here)
  t.match(JSON.parse(shown.stdout), [
    { name: 'rate-limit', enabled: true },
    { name: './marking.mjs', enabled: true, loaded: false, description: /--load/ },
    { name: 'block-list', enabled: false }
  ])
  const loaded = await cli(['plugin', 'list', '--load'], here)
  t.match(loaded.stdout, /marking +10 ms, then pass +leaves a mark/, loaded.stderr)
  t.ok(existsSync(mark), 'who asks for its code gets it')
})

await t.test('a backup does not go into the data folder, nor around it', async t => {
  const server = await startServer(t, { config: { store: { driver: 'level' } } })
  const folder = t.testdirName
  symlinkSync(server.data, join(folder, 'alias'))
  mkdirSync(join(folder, 'other'))
  symlinkSync(join(server.data, 'not-yet'), join(folder, 'dangling'))
  const listing = readdirSync(server.data).sort()
  for (const name of ['control.sock', 'server.json']) t.ok(listing.includes(name), `${name}: who finds the server ready finds it`)
  const inside = [join(server.data, 'a', 'b'), join(folder, 'alias', 'copy'), join(folder, 'alias'), join(folder, 'dangling'), folder]
  const attempts = async (): Promise<void> => {
    for (const path of inside) {
      const { code, stderr } = await cli(['backup', path, '--data', server.data, '--config', server.configPath])
      t.equal(code, 1, path)
      t.match(stderr, /is in the data folder|is not empty|cannot be used/, path)
    }
  }
  await attempts()
  t.strictSame(readdirSync(server.data).sort(), listing, 'nothing came in')
  const good = join(folder, 'other', 'copy')
  t.equal((await cli(['backup', good, '--data', server.data, '--config', server.configPath])).code, 0)
  rmSync(good, { recursive: true })
  await server.stop()
  await attempts()
  t.equal((await cli(['backup', good, '--data', server.data, '--config', server.configPath])).code, 0)
})
