/** A commit of a small repository, built aside as the bench builds one of this. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readlinkSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import { earlier } from '../../bench/peers/against.ts'
import { readOptions } from '../../bench/options.ts'

/** A repository with one commit for each version of its build; the folder that builds are kept in. */
function repository (t: Test, builds: readonly string[]): { repository: string, cache: string } {
  const folder = t.testdir()
  const path = join(folder, 'repository')
  mkdirSync(join(path, 'node_modules'), { recursive: true })
  const git = (...args: string[]): void => { execFileSync('git', ['-c', 'user.name=t', '-c', 'user.email=t@localhost', ...args], { cwd: path, stdio: 'ignore' }) }
  git('init', '-q')
  for (const build of builds) {
    writeFileSync(join(path, 'package.json'), JSON.stringify({ type: 'module', scripts: { build: 'node build.js' } }))
    writeFileSync(join(path, 'build.js'), build)
    git('add', 'package.json', 'build.js')
    git('commit', '-q', '-m', 'x')
  }
  return { repository: path, cache: join(folder, 'cache') }
}

const building = (port: number): string => `
import { mkdirSync, writeFileSync } from 'node:fs'
mkdirSync('dist/bench/peers', { recursive: true })
writeFileSync('dist/bench/peers/process.js', 'export function killAll () {}')
writeFileSync('dist/bench/peers/sabethes.js', 'export const sabethes = { name: "sabethes", toUser: () => "${port}" }')
writeFileSync('dist/bench/peers/sabethes-stored.js', 'export const stored = { name: "sabethes-stored" }')
`

await t.test('a commit is built aside, once, and is a peer in its own name', async t => {
  const where = repository(t, [building(1), building(2)])
  const old = await earlier('HEAD~1', where)
  const peer = await old.peer('sabethes.js', 'sabethes')
  t.match(old.name, /^[0-9a-f]{8}$/)
  t.equal(peer?.name, old.name)
  t.equal(peer?.toUser('x'), '1', 'that of the commit, not of the working folder')
  t.equal((await old.peer('sabethes-stored.js', 'stored'))?.name, `${old.name}-stored`)
  t.equal(await old.peer('sabethes.js', 'another'), undefined)
  t.equal(await old.peer('hostile.js', 'sabethes'), undefined)
  writeFileSync(join(old.folder, 'seen'), '')
  t.ok(existsSync(join((await earlier('HEAD~1', where)).folder, 'seen')), 'it is not built again')
  t.equal(readdirSync(where.cache).length, 1)
})

await t.test('a build whose packages were of a clone that is gone takes those of this one', async t => {
  const { repository: before, cache } = repository(t, [building(1)])
  const { folder } = await earlier('HEAD', { repository: before, cache })
  const after = `${before}-moved`
  renameSync(before, after)
  t.equal((await earlier('HEAD', { repository: after, cache })).folder, folder)
  t.equal(readlinkSync(join(folder, 'node_modules')), join(after, 'node_modules'))
})

await t.test('what is no commit, and what does not build, is said; half a build is not kept', async t => {
  const where = repository(t, ['process.exit(1)'])
  await t.rejects(earlier('nothing', where), /'nothing' is no commit/)
  await t.rejects(earlier('--help', where), /no commit/)
  await t.rejects(earlier('HEAD', where), /does not build/)
  t.same(readdirSync(where.cache), [])
})

await t.test('with it, the other brokers are left out unless they are asked for', async t => {
  t.same(readOptions(['--against', 'HEAD']).peers, ['sabethes'])
  t.same(readOptions(['--against', 'HEAD', '--peers', 'sabethes,mosquitto']).peers, ['sabethes', 'mosquitto'])
  t.equal(readOptions([]).against, undefined)
})
