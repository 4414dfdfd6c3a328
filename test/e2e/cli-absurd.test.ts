/** Arguments that make no sense: every verb answers them with a sentence and an exit code, and nothing else happens. */
import t from 'tap'
import type { Test } from 'tap'
import { desk } from '../support/cli-terminal.ts'
import { cli, startServer } from '../support/server.ts'

const absurd = ['', '-', '../x', 'a\0b', '\u001b[2J', 'x'.repeat(5000), '-1', '1e999', '__proto__', 'mqtt://']

/** `?` stands for the absurd one. Those of `online` are asked with a server on the data folder as well. */
const online = [
  'user add ? --no-password', 'user passwd ?', 'user ban ?', 'user unban ?', 'user rm ?',
  'group create ? -u alice', 'group create dev ? -u alice', 'group add ? bob -u alice', 'group rm dev ? -u alice', 'group list -u ?',
  'send ? hi -u alice', 'send bob ? -u alice', 'send bob hi -u ?', 'send bob hi -u alice --type ?', 'send bob ? -u alice --type json', 'send bob hi -u alice --cid ?',
  'send bob hi -u alice --timeout ?', 'send bob hi -u alice --url ?', 'send bob hi -u alice --password-file ?',
  'history ? -u alice', 'history bob -u alice --limit ?', 'history bob -u alice --before ?', 'history bob -u alice --after ?',
  'listen -u bob -n ?', 'listen -u ? -n 1', 'status --url ?', 'backup ?', 'purge --set messages.retentionSeconds=?'
]
const offline = [
  'restore ?', 'migrate --to ?', 'migrate --from ? --to level:target', 'bench --pairs ?', 'bench --seconds ?', 'bench --rate ?', 'bench --user-prefix ?', 'bench --url ? --seconds 0.1',
  'config check --set ?', 'config check --config ?', 'config show --mqtt-port ?', 'config env ?', 'user list --config ?', 'serve --http-port ?', 'serve --set ?', 'serve ?', 'user ?', '?', 'doctor --mqtt-port ?'
]

/** In this process; `serve` must not come to serve. */
async function ask (folder: string, template: string, value: string, ...more: string[]): Promise<{ code: number, out: string, err: string, name: string }> {
  const args = template.split(' ').map(word => word.endsWith('?') ? word.slice(0, -1) + value : word)
  const server = await import('../../broker/server.ts')
  const d = desk(folder, { input: 'a password\n', server: { ...server, startServer: () => Promise.reject(new Error('it serves')) } })
  return { ...await d.run(...args, ...more), name: `${template} with ${JSON.stringify(value.slice(0, 20))}` }
}

function check (t: Test, { code, out, err, name }: Awaited<ReturnType<typeof ask>>): void {
  t.ok(code === 0 || code === 1 || code === 2, `${name}: ${code}`)
  t.notMatch(out + err, /\n +at /, `${name}: no stack`)
  // eslint-disable-next-line no-control-regex
  t.notMatch(out + err, /\u001b/, `${name}: the terminal is not driven`)
  t.notMatch(err, /TypeError|is not a function|Cannot read prop|undefined/, `${name}: a fault of the program`)
  if (code !== 0) t.match(err + out, /\S/, `${name}: it says why`)
  for (const line of err.split('\n')) t.ok(line.length < 700, `${name}: a short line`)
}

await t.test('without a server', async t => {
  const folder = t.testdir({ work: { data: {} } }) + '/work'
  // Whoever listens on the usual port of this machine is not asked.
  const nobody = ['--set', 'mqtt.tcp.port=1', '--set', 'http.port=1']
  for (const template of [...online, ...offline]) {
    const more = /^config env|^\?|^user \?/.test(template) ? [] : nobody
    for (const value of absurd) check(t, await ask(folder, template, value, ...more))
  }
})

await t.test('with a server', async t => {
  const server = await startServer(t)
  for (const template of online) {
    for (const value of absurd) check(t, await ask(t.testdirName, template, value, '--data', server.data))
  }
  t.ok(server.running())
  t.match(await cli(['status', '--data', server.data]), { code: 0 })
})

await t.test('a data folder that cannot be one', async t => {
  const folder = t.testdir({ file: 'x' })
  const impossible: Array<[string, RegExp]> = [
    ['file', /the data folder .*\/file cannot be used: it is a file; name another one with store\.path \(--data, SABETHES_STORE__PATH\)/],
    ['file/below', /cannot be used: a part of the path is a file/],
    ['/proc/nobody/data', /cannot be (made|used): ENOENT/],
    ['x'.repeat(300), /ENAMETOOLONG/],
    ['a\0b', /cannot be used: .*null bytes/]
  ]
  for (const [data, says] of impossible) {
    const verbs = ['serve', 'user list', 'user add bob --no-password', 'plugin list', 'purge', 'backup copy', 'status', 'send bob hi -u alice', 'group list -u alice']
    for (const verb of verbs) {
      const server = await import('../../broker/server.ts')
      const { code, err } = await desk(folder, { server }).run(...verb.split(' '), '--data', data, '--set', 'mqtt.tcp.port=1', '--set', 'http.port=1')
      t.ok(code === 1 || code === 2, `${verb} --data ${data.slice(0, 20)}: ${code}`)
      const isAbout = !/^(status|send|group)/.test(verb) || !data.startsWith('/proc')
      t.match(err, isAbout ? says : /no server/, `${verb} --data ${data.slice(0, 20)}`)
    }
  }
  if (process.platform === 'linux') {
    const server = await import('../../broker/server.ts')
    t.match(await desk(folder, { server }).run('backup', '/proc/nobody/copy'), { code: 1, err: /ENOENT/ })
    t.match(await desk(folder, { server }).run('migrate', '--from', 'config', '--to', 'level:/proc/nobody/copy'), { code: 1, err: /ENOENT/ })
  }
})
