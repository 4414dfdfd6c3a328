import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import type { Config } from '../../broker/config/schema.ts'
import { loadPlugins } from '../../broker/engine/plugins/plugin-loader.ts'
import { startControl } from '../../broker/http/control.ts'
import { desk } from '../support/cli-terminal.ts'
import { fakeTarget } from '../support/fake-target.ts'

const never = new Promise<Error>(() => {})
const addresses = { mqtt: { host: '127.0.0.1', port: 1999 }, http: { host: '127.0.0.1', port: 8099 }, further: [] }

await t.test('serve says where it is, and stops on a signal', async t => {
  const folder = t.testdir()
  let config: Config | undefined
  let closed = 0
  const server = { startServer: async (given: Config) => { config = given; return { addresses, failed: never, close: async () => { closed++ } } } }
  const d = desk(folder, { server })
  const done = d.run('--mqtt-port', '0')
  await d.printed('mosquitto_pub')
  d.terminal.signals.emit('SIGTERM', 'SIGTERM')
  const { code, out } = await done
  t.equal(code, 0)
  t.equal(closed, 1)
  t.equal(config?.mqtt.tcp.port, 0)
  t.equal(config?.store.path, join(folder, 'data'), 'absolute')
  for (const text of ['mqtt://127.0.0.1:1999', 'ws://127.0.0.1:8099/mqtt', join(folder, 'data'), 'dev: any user name is let in',
    "mosquitto_sub -p 1999 -u bob -t 'im/u/bob/#' -q 1 -v", "mosquitto_pub -p 1999 -u alice -t im/to/u/bob -q 1 -m 'hello'"]) t.match(out, text)
  t.equal(d.terminal.signals.listenerCount('SIGTERM') + d.terminal.signals.listenerCount('SIGINT'), 0)

  const json = desk(folder, { server })
  const jsonDone = json.run('serve', '--json', '--set', 'auth.mode=password')
  await json.printed('\n')
  json.terminal.signals.emit('SIGINT', 'SIGINT')
  await jsonDone
  t.match(JSON.parse(json.out()), { event: 'started', mode: 'password', addresses, data: join(folder, 'data') })
})

await t.test('the banner warns of what is open to others', async t => {
  const server = { startServer: async () => ({ addresses: { mqtt: { host: '0.0.0.0', port: 1883 }, http: { host: '::', port: 80 }, further: [] }, failed: never, close: async () => {} }) }
  const d = desk(t.testdir(), { server })
  const done = d.run('--set', 'mqtt.tcp.host=0.0.0.0', '--set', 'auth.devAnywhere=true')
  await d.printed('mosquitto_pub')
  d.terminal.signals.emit('SIGINT', 'SIGINT')
  await done
  t.match(d.out(), 'WARNING: this listens beyond this machine, and dev mode lets any user name in')
  t.match(d.out(), "mosquitto_sub -u bob -t 'im/u/bob/#'")
  t.match(d.out(), 'http://[::]:80/readyz')
})

await t.test('a second signal, or the time that is up, ends it with 1', async t => {
  const stuck = { startServer: async () => ({ addresses, failed: never, close: () => new Promise<void>(() => {}) }) }
  const twice = desk(t.testdir(), { server: stuck })
  let now = 0
  twice.terminal.now = () => now
  const twiceDone = twice.run()
  await twice.printed('mosquitto_pub')
  twice.terminal.signals.emit('SIGTERM', 'SIGTERM')
  now = 499
  twice.terminal.signals.emit('SIGTERM', 'SIGTERM')
  now = 500
  twice.terminal.signals.emit('SIGINT', 'SIGINT')
  t.match(await twiceDone, { code: 1, err: /SIGINT again/ })

  const late = desk(t.testdir(), { server: stuck })
  const lateDone = late.run('--set', 'shutdown.timeoutMs=20')
  await late.printed('mosquitto_pub')
  late.terminal.signals.emit('SIGTERM', 'SIGTERM')
  t.match(await lateDone, { code: 1, err: /not stopped after 20 ms/ })

  const broken = desk(t.testdir(), { server: { startServer: async () => ({ addresses, failed: never, close: () => Promise.reject(new Error('disk gone')) }) } })
  const brokenDone = broken.run()
  await broken.printed('mosquitto_pub')
  broken.terminal.signals.emit('SIGTERM', 'SIGTERM')
  t.match(await brokenDone, { code: 1, err: /the stop failed: disk gone/ })

  let asked: () => void = () => {}
  const starting = new Promise<void>(resolve => { asked = resolve })
  const slow = desk(t.testdir(), { server: { startServer: () => { asked(); return new Promise(() => {}) } } })
  slow.terminal.now = () => now
  const slowDone = slow.run()
  await starting
  slow.terminal.signals.emit('SIGTERM', 'SIGTERM')
  now = 1000
  slow.terminal.signals.emit('SIGTERM', 'SIGTERM')
  t.match(await slowDone, { code: 1 }, 'also within a start that hangs')
})

await t.test('a start that fails is one line that names the key', async t => {
  const cases: Array<[object, RegExp]> = [
    [{ code: 'EADDRINUSE', address: '127.0.0.1', port: 1883 }, /^sabethes: 127\.0\.0\.1:1883 is in use: .* mqtt\.tcp\.port \(--mqtt-port, SABETHES_MQTT__TCP__PORT\)\n$/],
    [{ code: 'EADDRINUSE', address: '127.0.0.1', port: 8080 }, /http\.port \(--http-port, SABETHES_HTTP__PORT\)\n$/],
    [{ code: 'EACCES', address: '127.0.0.1', port: 8080 }, /may not listen on 127\.0\.0\.1:8080: set http\.port/],
    [{ code: 'EADDRNOTAVAIL', address: '10.9.9.9', port: 1883 }, /^sabethes: 10\.9\.9\.9 is not an address of this machine: set mqtt\.tcp\.host \(SABETHES_MQTT__TCP__HOST\)\n$/],
    [{ name: 'StoreLockedError' }, /another server uses the data folder .*store\.path \(--data, SABETHES_STORE__PATH\)\n$/],
    [{ code: 'ENOTFOUND', hostname: 'nowhere.invalid' }, /nowhere\.invalid is not a known name/],
    [{ message: 'plugin x: no such file' }, /^sabethes: plugin x: no such file\n$/]
  ]
  for (const [fields, pattern] of cases) {
    for (const error of [Object.assign(new Error('?'), fields), 'port' in fields ? new Error('wrapped', { cause: Object.assign(new Error('?'), fields) }) : undefined]) {
      if (error === undefined) continue
      const { code, err, out } = await desk(t.testdir(), { server: { startServer: () => Promise.reject(error) } }).run()
      t.equal(code, 1)
      t.match(err, pattern)
      t.equal(out, '')
    }
  }
})

await t.test('wrong usage and configuration end with 2', async t => {
  const folder = t.testdir()
  t.match(await desk(folder).run('stauts'), { code: 2, err: /no such command: stauts; did you mean status\?/ })
  t.match(await desk(folder).run('user', 'ad'), { code: 2, err: /unknown command 'ad'/ })
  t.match(await desk(folder).run('user'), { code: 2 })
  t.match(await desk(folder).run('user', 'add'), { code: 2, err: /missing required argument/ })
  t.match(await desk(folder).run('--nonsense'), { code: 2, err: /unknown option '--nonsense'/ })
  t.match(await desk(folder).run('--set', 'http.prot=1'), { code: 2, err: 'sabethes: --set http.prot: unknown key http.prot; did you mean http.port?\n' })
  const { code, out } = await desk(folder).run('config', 'check', '--json', '--http-port', 'x')
  t.equal(code, 2)
  t.match(JSON.parse(out), { ok: false, code: 'config', problems: [{ origin: '--http-port', key: 'http.port' }] })
  t.match(await desk(folder).run('--version'), { code: 0, out: /^\d+\.\d+\.\d+\n$/ })
  t.match(await desk(folder).run('help'), { code: 0, out: /serve .*the default/ })
})

await t.test('config check, show, schema, env', async t => {
  const folder = t.testdir({ 'sabethes.yaml': 'http:\n  port: 9\n' })
  t.match(await desk(folder).run('config', 'check'), { code: 0, out: 'ok: sabethes.yaml, 1 of the keys differ from their defaults\n' })
  t.match(await desk(folder).run('config', 'show'), { code: 0, out: /^ {2}port: 9 # sabethes\.yaml:2:3$/m })
  t.match(JSON.parse((await desk(folder).run('config', 'show', '--json')).out), { config: { http: { port: 9 } }, origins: { 'http.port': 'sabethes.yaml:2:3' } })
  t.match(JSON.parse((await desk(folder).run('config', 'schema')).out), { properties: { mqtt: {} } })
  t.match((await desk(folder).run('config', 'env')).out, /^# http\.port: .*\nSABETHES_HTTP__PORT=8080$/m)
  t.match(JSON.parse((await desk(folder).run('config', 'env', '--json')).out)[0], { variable: 'SABETHES_MQTT__TCP__HOST', default: '127.0.0.1' })
  t.match((await desk(folder).run('config', 'env', '--markdown')).out, '| `http.port`<br>`SABETHES_HTTP__PORT` |')
})

await t.test('config check finds what serve refuses, with the place, and serve says the same', async t => {
  const started = 'globalThis.clumsyRan = true; '
  const shape = "description: 'x', timeoutMs: 5, onFailure: 'pass', start () { return {} }, options: { safeParse: data => data.word === 'no' ? { success: false, error: { issues: [{ path: ['word'], message: 'not this word' }] } } : { success: true, data } }"
  const cases: Array<[string, RegExp]> = [
    ['plugins:\n  rate-limit:\n    burst: 0\n', /^sabethes: sabethes\.yaml:3:12: plugins\.rate-limit\.burst .*\n$/],
    ['plugins:\n  rate-limit: { burst: 0, brust: 1 }\n', /^sabethes: sabethes\.yaml:2:24: plugins\.rate-limit\.burst .*\nsabethes: sabethes\.yaml:2:15: plugins\.rate-limit .*brust.*\n$/],
    ['plugins:\n  rate-limti: {}\n', /^sabethes: sabethes\.yaml:2:15: plugins\.rate-limti cannot be loaded: it is neither a built-in plugin \(rate-limit, block-list\), a path \(\.\/plugin\.js\) nor an installed package\n$/],
    ['plugins:\n  ./absent.mjs: {}\n', /^sabethes: sabethes\.yaml:2:17: plugins\.\.\/absent\.mjs cannot be loaded: there is no file .*absent\.mjs\n$/],
    ['mqtt:\n  openTopics: ["home/#", "im/#"]\n', /^sabethes: sabethes\.yaml:2:26: mqtt\.openTopics "im\/#" opens nothing: topics of the chat \(mqtt\.prefix im\) are never ordinary topics\n$/],
    ['mqtt:\n  openTopics: ["$SYS/broker"]\n', /"\$SYS\/broker" opens nothing/],
    ['mqtt:\n  ws:\n    path: /healthz\n', /^sabethes: sabethes\.yaml:3:5: mqtt\.ws\.path \/healthz is taken: it is a page of the server itself\n$/]
  ]
  for (const [yaml, message] of cases) {
    await t.test(yaml, async t => {
      const folder = t.testdir({ 'sabethes.yaml': yaml })
      // What the server does first with its plugins.
      const startServer = async (config: Config): Promise<never> => {
        await loadPlugins(config.plugins, { baseDir: folder })
        throw new Error('it would have started')
      }
      const check = await desk(folder).run('config', 'check')
      t.match(check, { code: 2, err: message })
      t.strictSame(await desk(folder, { server: { startServer } }).run('serve'), check, 'serve')
    })
  }
  await t.test('modules: found without running them; their options with --load', async t => {
    const folder = t.testdir({ 'sabethes.yaml': 'plugins:\n  ./words.mjs: { word: no }\n', 'words.mjs': `${started}export default { name: 'words', ${shape} }` })
    t.match(await desk(folder).run('config', 'check'), { code: 0, out: /^ok: / })
    t.equal((globalThis as { clumsyRan?: boolean }).clumsyRan, undefined, 'no code of the folder ran')
    t.match(await desk(folder).run('config', 'check', '--load'), { code: 2, err: 'sabethes: sabethes.yaml:2:24: plugins../words.mjs.word not this word\n' })
  })
})

await t.test('accounts: of the running server, or of its store', async t => {
  const folder = t.testdir({ data: {}, pw: 'from file\n' })
  const offline = fakeTarget()
  const server = { openOffline: async () => offline }
  t.match(await desk(folder, { server, input: 'from stdin\n' }).run('user', 'add', 'bob'), { code: 0, out: 'added bob\n' })
  t.equal(offline.accounts.get('bob')?.password, 'from stdin')
  t.equal(offline.closed, 1, 'the store is closed again')
  t.match(await desk(folder, { server, input: 'x' }).run('user', 'add', 'bob', '--json'), { code: 1, out: '{"ok":false,"code":"conflict","reason":"bob exists already"}\n', err: /refused \(conflict\)/ })
  t.equal(offline.closed, 2, 'after a refusal, too')

  const live = fakeTarget()
  const control = await startControl(join(folder, 'data'), live)
  t.teardown(() => control.close())
  const run = (...args: string[]) => desk(folder, { server }).run('user', ...args)
  t.match(await run('add', 'carol', '--password-file', 'pw'), { code: 0 })
  t.equal(live.accounts.get('carol')?.password, 'from file')
  t.match(await run('add', 'dave', '--no-password'), { code: 0 })
  t.equal(live.accounts.get('dave')?.hasPassword, false)
  t.match(await run('add', 'erin', '--set', 'auth.mode=password'), { code: 1, err: /a password is needed/ })
  t.match(await run('passwd', 'carol'), { code: 1, err: /the password is empty/ })
  t.match(await run('passwd', 'carol', '--password-file', 'none'), { code: 2, err: /cannot read the password file/ })
  t.match(await desk(folder, { server, input: 'two\nlines\n' }).run('user', 'passwd', 'carol'), { code: 2, err: /one line/ })
  t.match(await desk(folder, { server, input: 'fresh' }).run('user', 'passwd', 'carol'), { code: 0 })
  t.equal(live.accounts.get('carol')?.password, 'fresh')
  t.match(await run('ban', 'carol'), { code: 0, out: 'banned carol\n' })
  t.match(await run('list'), { code: 0, out: 'carol  1970-01-01  password     banned\ndave   1970-01-01  no password\n' })
  t.strictSame((await run('list', '--json')).out.trim().split('\n').map(line => (JSON.parse(line) as { uid: string }).uid), ['carol', 'dave'])
  t.match(await run('unban', 'carol'), { code: 0 })
  t.equal(live.accounts.get('carol')?.banned, false)
  t.match(await run('rm', 'carol'), { code: 0 })
  t.match(await run('rm', 'carol'), { code: 1, err: /refused \(not_found\)/ })
  t.match(await run('rm', 'a/b'), { code: 2 })
  t.equal(offline.closed, 2, 'the store was not opened beside the server')
})

await t.test('a password that is asked for is not shown', async t => {
  const folder = t.testdir({ data: {} })
  const target = fakeTarget()
  const { PassThrough } = await import('node:stream')
  const ask = async (...answers: string[]) => {
    const d = desk(folder, { server: { openOffline: async () => target } })
    const stdin = Object.assign(new PassThrough(), { isTTY: true })
    d.terminal.stdin = stdin
    d.terminal.stderr.on('data', (text: string) => { if (/: $/.test(text)) stdin.write(answers.shift() + '\n') })
    return await d.run('user', 'add', 'bob')
  }
  t.match(await ask('one', 'other'), { code: 1, err: /not the same/ })
  const { code, out, err } = await ask('hush', 'hush')
  t.equal(code, 0)
  t.equal(target.accounts.get('bob')?.password, 'hush')
  t.notMatch(out + err, 'hush')
})

await t.test('status, purge, plugin list', async t => {
  const folder = t.testdir({ data: {} })
  t.match(await desk(folder).run('status'), { code: 1, err: /no server runs on .*: start one with 'sabethes'/ })
  const target = fakeTarget()
  const control = await startControl(join(folder, 'data'), target)
  t.teardown(() => control.close())
  t.match(await desk(folder).run('status'), { code: 0, out: /up +1 d 01:01:01\n.*\nmqtt +127\.0\.0\.1:1883\n/s })
  t.match(JSON.parse((await desk(folder).run('status', '--json')).out), { version: '1.2.3', connections: 3 })
  t.match(await desk(folder).run('purge'), { code: 0, out: /^nothing was removed: .* kept for ever\n$/ })
  t.match(await desk(folder).run('purge', '--set', 'messages.retentionSeconds=60'), { code: 0, out: 'removed 4 messages older than 60 s\n', err: '' })
  t.match(await desk(folder).run('plugin', 'list'), { code: 0, out: '1  rate-limit  10 ms, then pass  limits\n' })
  const { status } = target
  target.status = async () => { const state = await status(); return { ...state, store: { ...state.store, healthy: false } } }
  t.match(await desk(folder).run('status'), { code: 1, out: /NOT HEALTHY/, err: /not healthy/ })
})

await t.test('keepalive: what is named is asked for, what is no number is not', async t => {
  const folder = t.testdir({ data: {} })
  const target = fakeTarget()
  const control = await startControl(join(folder, 'data'), target)
  t.teardown(() => control.close())
  t.match(await desk(folder).run('keepalive'), { code: 0, out: /^wifi +60 s\ncellular +230 s\nnat +55 s\n$/ })
  t.match(JSON.parse((await desk(folder).run('keepalive', '--wifi', '60', '--nat', '30', '--reset', '--json')).out), { wifi: 60, cellular: 230, nat: 55 })
  t.strictSame(target.operated, [['server.keepalive', { reset: false }], ['server.keepalive', { reset: true, wifi: 60, nat: 30 }]])
  for (const wrong of ['', 'x', '-1', '1.5', '1e3']) t.match(await desk(folder).run('keepalive', `--cellular=${wrong}`), { code: 2, err: /--cellular: '.*' is no number of seconds/ }, wrong)
  t.equal(target.operated.length, 2)
})

await t.test('status of a server elsewhere', async t => {
  let ready = true
  const server = createServer((request, response) => {
    response.statusCode = request.url === '/readyz' && ready ? 200 : 503
    response.end('store \u001b[2J')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => { server.closeAllConnections(); server.close() })
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  t.match(await desk(t.testdir()).run('status', '--url', url), { code: 0, out: /is ready/ })
  ready = false
  const { code, out, err } = await desk(t.testdir()).run('status', '--url', url, '--json')
  t.equal(code, 1)
  t.match(JSON.parse(out.split('\n')[0] as string), { ready: false, status: 503 })
  t.notMatch(err, '\u001b')
  t.match(await desk(t.testdir()).run('status', '--url', 'ftp://x'), { code: 2 })
  t.match(await desk(t.testdir()).run('status', '--url', 'http://127.0.0.1:1'), { code: 1, err: /no answer from/ })
})

await t.test('backup and restore', async t => {
  const folder = t.testdir({ data: { old: 'row' }, copy: {} })
  const target = fakeTarget()
  let locked = false
  let broken = false
  const server = {
    openOffline: async () => {
      if (locked) throw Object.assign(new Error('the store is open in another process'), { name: 'StoreLockedError' })
      return target
    },
    restoreOffline: async (config: Config, from: string, progress: (done: number, total: number | undefined) => void) => {
      if (broken) throw new Error('this is no backup')
      progress(1, 1)
      mkdirSync(config.store.path, { recursive: true })
      writeFileSync(join(config.store.path, 'new'), from)
    }
  }
  t.match(await desk(folder, { server }).run('backup', 'copy'), { code: 0, out: `backed up to ${join(folder, 'copy')}\n` })
  t.strictSame(target.backups, [join(folder, 'copy')])
  t.match(await desk(folder, { server }).run('backup', 'full'), { code: 1, err: /refused \(conflict\)/ })
  t.match(await desk(folder, { server }).run('backup', 'data'), { code: 1, err: /is not empty/ })
  t.equal(target.backups.length, 1)

  t.match(await desk(folder, { server }).run('restore', 'none'), { code: 1, err: /is not there/ })
  t.match(await desk(folder, { server }).run('restore', 'copy'), { code: 1, err: /is not empty: --force moves it aside/ })
  const control = await startControl(join(folder, 'data'), target)
  t.match(await desk(folder, { server }).run('restore', 'copy', '--force'), { code: 1, err: /a server runs on .*: stop it first/ })
  await control.close()
  locked = true
  t.match(await desk(folder, { server }).run('restore', 'copy', '--force'), { code: 1, err: /open in another process/ })
  locked = false
  broken = true
  t.match(await desk(folder, { server }).run('restore', 'copy', '--force'), { code: 1, err: /moved it back/ })
  t.strictSame(readdirSync(join(folder, 'data')), ['old'])
  broken = false
  const { code, out } = await desk(folder, { server }).run('restore', 'copy', '--force', '--json')
  t.equal(code, 0)
  const { aside } = JSON.parse(out) as { aside: string }
  t.strictSame(readdirSync(aside), ['old'])
  t.equal(readFileSync(join(folder, 'data', 'new'), 'utf8'), join(folder, 'copy'))
  t.match(await desk(folder, { server }).run('restore', 'copy', '--data', 'fresh', '--json'), { code: 0 }, 'into a folder that is not there')
  t.ok(existsSync(join(folder, 'fresh', 'new')))
})
