/** Every verb of the command line as a process of its own, with a running server and without: how it ends and what it says. */
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import { addressFileName } from '../../broker/http/address-file.ts'
import { cli, freePort, startServer, type Exit } from '../support/server.ts'

interface Case { verb: string, args: string[], code: 0 | 1 | 2, stdout?: RegExp, stderr?: RegExp, input?: string }

const silent = /^$/
const as = ['-u', 'alice']

/** With the server running. None of them is told a port: they find it by the data folder. */
const live: Case[] = [
  { verb: 'serve', args: [], code: 1, stderr: /another server uses the data folder/ },
  { verb: 'config check', args: [], code: 0, stdout: /^ok: / },
  { verb: 'config show', args: [], code: 0, stdout: /^mqtt:$/m },
  { verb: 'config schema', args: [], code: 0, stdout: /"title": "sabethes\.yaml"/ },
  { verb: 'config env', args: [], code: 0, stdout: /^SABETHES_HTTP__PORT=8080$/m },
  { verb: 'user add', args: ['carol'], input: 'secret\n', code: 0, stdout: /^added carol\n$/ },
  { verb: 'user passwd', args: ['carol'], input: 'other\n', code: 0, stdout: /^new password for carol/ },
  { verb: 'user ban', args: ['carol'], code: 0, stdout: /^banned carol\n$/ },
  { verb: 'user unban', args: ['carol'], code: 0, stdout: /^unbanned carol\n$/ },
  { verb: 'user list', args: [], code: 0, stdout: /^carol .* password\n$/, stderr: /auth\.mode is dev: everybody is let in/ },
  { verb: 'user rm', args: ['carol'], code: 0, stdout: /^removed carol/ },
  { verb: 'group create', args: ['dev', 'bob', ...as], code: 0, stdout: /^created g\/dev\n$/ },
  { verb: 'group add', args: ['dev', 'dora', ...as], code: 0, stdout: /^added to g\/dev: dora\n$/ },
  { verb: 'group rm', args: ['dev', 'dora', ...as], code: 0, stdout: /^removed from g\/dev: dora\n$/ },
  { verb: 'group list', args: as, code: 0, stdout: /^dev {2}owner {2}dev\n$/ },
  { verb: 'people set', args: ['--nickname', 'Ali', '--field', 'team=red', '--findable', 'prefix', ...as], code: 0, stdout: /^nickname +Ali$[^]*^team +red$/m },
  { verb: 'people show', args: ['alice', '-u', 'bob'], code: 0, stdout: /^user +alice\nnickname +Ali\n$/ },
  { verb: 'people search', args: ['al', '-u', 'bob'], code: 0, stdout: /^alice {2}Ali\n$/ },
  { verb: 'contact request', args: ['alice', '--text', 'we met', '-u', 'bob'], code: 0, stdout: /^asked alice\n$/ },
  { verb: 'contact requests', args: as, code: 0, stdout: /^from {2}bob {2}\d{4}-\d\d-\d\d {2}we met\n$/ },
  { verb: 'contact accept', args: ['bob', ...as], code: 0, stdout: /^bob is a contact\n$/ },
  { verb: 'contact set', args: ['bob', '--remark', 'Bobby', '--groups', 'work', 'home', ...as], code: 0, stdout: /^bob {2}\d{4}-\d\d-\d\d {2}Bobby {2}work, home\n$/ },
  { verb: 'contact list', args: ['--group', 'home', ...as], code: 0, stdout: /^bob {2}.*Bobby/ },
  { verb: 'contact mode', args: ['contacts', ...as], code: 0, stdout: /^messages and invitations: of contacts\n$/ },
  { verb: 'contact rm', args: ['bob', ...as], code: 0, stdout: /^bob is no contact\n$/ },
  { verb: 'contact refuse', args: ['eve', ...as], code: 0, stdout: /^eve is no contact\n$/ },
  { verb: 'feed add', args: ['audit'], code: 0, stdout: /^audit reads behind position 0\n$/ },
  { verb: 'send', args: ['bob', 'hi', ...as], code: 0, stdout: /^stored as number 1, id / },
  { verb: 'listen', args: ['-u', 'bob', '-n', '1'], code: 0, stdout: /u\/bob #1 {2}alice: hi\n/, stderr: /listening as bob/ },
  { verb: 'history', args: ['bob', ...as], code: 0, stdout: /u\/bob #1 {2}alice: hi\n$/ },
  { verb: 'feed readers', args: [], code: 0, stdout: /^audit +0 +1 /m },
  { verb: 'feed lag', args: [], code: 1, stdout: /^audit +0 +1 /m, stderr: /1 entries behind/ },
  { verb: 'feed tail', args: ['--reader', 'audit', '--count', '1'], code: 0, stdout: /alice: hi/, stderr: /the feed as audit/ },
  { verb: 'feed remove', args: ['audit'], code: 0, stdout: /^removed audit\n$/ },
  { verb: 'keepalive', args: ['--nat', '40'], code: 0, stdout: /^nat +40 s$/m },
  { verb: 'status', args: [], code: 0, stdout: /^mqtt +127\.0\.0\.1:\d+$/m },
  { verb: 'nodes', args: [], code: 0, stdout: /^this server is alone: cluster\.redis is not set\nname .*\n- +\d+\.\d+\.\d+ +- +- +\d+ /m },
  { verb: 'drain', args: [], code: 1, stderr: /refused \(conflict\): this server is alone: nobody could take its clients/ },
  { verb: 'bench', args: ['--pairs', '1', '--seconds', '0.1', '--rate', '50'], code: 0, stdout: /messages\/s delivered/ },
  { verb: 'backup', args: ['copy-live'], code: 0, stdout: /^backed up to / },
  { verb: 'restore', args: ['copy-live', '--force'], code: 1, stderr: /a server runs on .*: stop it first/ },
  { verb: 'migrate', args: ['--from', 'config', '--to', 'level:migrated-live'], code: 1, stderr: /open in another process|another server/ },
  { verb: 'export', args: ['live.ndjson.gz'], code: 1, stderr: /open in another process|another server/ },
  { verb: 'import', args: ['none.ndjson.gz'], code: 1, stderr: /no such file/ },
  { verb: 'doctor', args: [], code: 0, stdout: /^ok +server +running$/m },
  { verb: 'purge', args: [], code: 0, stdout: /^nothing was removed/ },
  { verb: 'plugin list', args: [], code: 0, stdout: /^1 {2}rate-limit / }
]

/** The same, and the server is stopped: what it refuses, and what works on the store. `serve` has a test of its own. */
const stopped: Case[] = [
  ...live.filter(({ verb }) => verb.startsWith('config ') || verb.startsWith('user ') || ['keepalive', 'plugin list', 'purge'].includes(verb)),
  ...live.filter(({ verb }) => verb.startsWith('group ') || verb.startsWith('people ') || verb.startsWith('contact ') || ['send', 'listen', 'history', 'bench'].includes(verb))
    .map(({ verb, args }): Case => ({ verb, args, code: 1, stdout: silent, stderr: /no server answers at mqtt:\/\/127\.0\.0\.1:\d+: start one with 'sabethes', or name another with --url/ })),
  ...live.filter(({ verb }) => verb.startsWith('feed ')).map(({ verb, args }): Case => ({ verb, args, code: 1, stdout: silent, stderr: /no server runs on / })),
  ...['status', 'nodes', 'drain'].map((verb): Case => ({ verb, args: [], code: 1, stdout: silent, stderr: /no server runs on .*: start one with 'sabethes'/ })),
  { verb: 'backup', args: ['copy-stopped'], code: 0, stdout: /^backed up to / },
  { verb: 'restore', args: ['copy-stopped', '--force'], code: 0, stdout: /^restored /, stderr: /^moved / },
  { verb: 'migrate', args: ['--from', 'config', '--to', 'level:migrated'], code: 0, stdout: /is equal to/ },
  { verb: 'export', args: ['all.ndjson.gz'], code: 0, stdout: /^message +\d+ [^]*is equal to/m },
  { verb: 'export', args: ['all.ndjson.gz'], code: 1, stdout: silent, stderr: /exists: an export does not replace/ },
  { verb: 'import', args: ['all.ndjson.gz'], code: 1, stdout: silent, stderr: /is not empty/ },
  { verb: 'import', args: ['all.ndjson.gz', '--to', 'level:imported'], code: 0, stdout: /is equal to export / },
  { verb: 'doctor', args: [], code: 0, stdout: /^ok +server +not running$/m }
]

function check (t: Test, { verb, args, code, stdout, stderr }: Case, exit: Exit): void {
  const name = `${verb} ${args.join(' ')}`
  t.equal(exit.code, code, `${name}: ${exit.stdout}${exit.stderr}`)
  if (stdout !== undefined) t.match(exit.stdout, stdout, name)
  if (stderr !== undefined) t.match(exit.stderr, stderr, name)
  t.notMatch(exit.stdout + exit.stderr, /\n +at /, `${name}: no stack`)
  t.ok(exit.stdout + exit.stderr !== '', `${name} says something`)
}

/** Every verb that `sabethes help` lists, those of groups of verbs in full. */
async function verbs (): Promise<string[]> {
  const listed = async (...args: string[]): Promise<string[]> => {
    const { stdout } = await cli([...args, '--help'])
    const [, commands = ''] = stdout.split('Commands:\n')
    return [...commands.matchAll(/^ {2}([a-z]+)/gm)].map(match => match[1] as string).filter(name => name !== 'help')
  }
  const all: string[] = []
  for (const verb of await listed()) {
    const inner = await listed(verb)
    all.push(...inner.length === 0 || verb === 'serve' ? [verb] : inner.map(name => `${verb} ${name}`))
  }
  return all
}

t.setTimeout(600_000)
await t.test('every verb', async t => {
  const server = await startServer(t)
  const folder = join(server.data, '..')
  const known = await verbs()
  t.same([...new Set(live.map(({ verb }) => verb))].sort(), [...known].sort(), 'with a server: all are here')
  t.same([...new Set(stopped.map(({ verb }) => verb)), 'serve'].sort(), [...known].sort(), 'without one: all are here')
  const run = async (one: Case, ...more: string[]): Promise<void> => {
    const takesData = one.verb !== 'config schema' && one.verb !== 'config env'
    const input = one.input === undefined ? {} : { input: one.input }
    check(t, one, await cli([...one.verb.split(' '), ...one.args, ...takesData ? ['--data', server.data, ...more] : []], { cwd: join(folder, 'elsewhere'), ...input }))
  }
  mkdirSync(join(folder, 'elsewhere'))
  for (const one of live) await run(one)
  await server.stop()
  // Not the ports that somebody else on this machine may listen on.
  const ports = ['--set', `mqtt.tcp.port=${await freePort()}`, '--set', `http.port=${await freePort()}`]
  for (const one of stopped) await run(one, ...ports)
})

await t.test('the address file', async t => {
  const server = await startServer(t)
  const file = join(server.data, addressFileName)
  const read = (): Record<string, unknown> => JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>
  t.equal(statSync(file).mode & 0o777, 0o600, 'for its user alone')
  t.match(read(), { pid: server.pid, prefix: 'im', wsPath: '/mqtt', mqtt: { host: '127.0.0.1', port: server.mqttPort }, http: { host: '127.0.0.1', port: server.httpPort } })
  const empty = t.testdirName
  const send = (...more: string[]) => cli(['send', 'bob', 'hi', '-u', 'alice', '--data', server.data, ...more], { cwd: empty })
  t.match(await send(), { code: 0 })
  t.match(await send('--set', 'mqtt.tcp.port=1'), { code: 1, stderr: /no server answers at mqtt:\/\/127\.0\.0\.1:1:/ }, 'a port of the command line counts')
  t.match(await send('--url', 'mqtt://127.0.0.1:2'), { code: 1, stderr: /no server answers at mqtt:\/\/127\.0\.0\.1:2:/ })

  await server.kill9()
  t.ok(existsSync(file), 'left behind')
  const port = await freePort()
  const config = join(empty, 'other.yaml')
  writeFileSync(config, `mqtt:\n  tcp:\n    port: ${port}\n`)
  t.match(await send('--config', config), { code: 1, stderr: new RegExp(`no server answers at mqtt://127\\.0\\.0\\.1:${port}:`) }, 'and not taken for a server')
  writeFileSync(file, 'no JSON')
  t.match(await send('--config', config), { code: 1, stderr: new RegExp(`127\\.0\\.0\\.1:${port}:`) })
  await server.restart()
  t.match(read(), { pid: server.pid })
  await server.stop()
  t.notOk(existsSync(file), 'gone with its server')
})

await t.test('a prefix that only the server knows', async t => {
  const server = await startServer(t, { config: { mqtt: { prefix: 'chat' } } })
  t.match(await cli(['send', 'bob', 'hi', '-u', 'alice', '--data', server.data], { cwd: t.testdirName }), { code: 0, stdout: /number 1/ })
})
