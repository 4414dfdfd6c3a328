/** `sabethes feed` as an operator uses it: in pipes, with Ctrl-C, over a restart. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import t from 'tap'
import { cleanEnv, cli, mainPath, run, startServer } from '../support/server.ts'
import { device } from '../support/mqtt.ts'
import { within } from '../support/mailbox.ts'

await t.test('readers, tail and lag of a running server', async t => {
  const server = await startServer(t)
  const here = ['--data', server.data, '--config', server.configPath]
  const feed = async (...args: string[]) => await cli(['feed', ...args, ...here])
  t.match(await feed('add', 'audit'), { code: 0, stdout: 'audit reads behind position 0\n' })

  // A look at what comes, ended by Ctrl-C, leaves nothing behind.
  const looking = spawn(process.execPath, [mainPath, 'feed', 'tail', ...here], { env: cleanEnv(), stdio: ['ignore', 'pipe', 'pipe'] })
  t.teardown(() => { looking.kill('SIGKILL') })
  const exited = once(looking, 'exit')
  await within(once(looking.stderr, 'data'), 20_000, 'the first word of tail')
  const lines = createInterface({ input: looking.stdout })
  const first = once(lines, 'line') as Promise<[string]>
  const alice = await device(t, server.url, 'alice')
  for (let i = 1; i <= 5; i++) await alice.client.publishAsync('im/to/u/bob', `hello ${i}`, { qos: 1 })
  t.match((await within(first, 20_000, 'the first message'))[0], /^1 {2}.* d:alice:bob #1 {2}alice: hello 1$/)
  t.match((JSON.parse((await feed('readers', '--json')).stdout) as object[]).map(({ ...one }) => one), [{ name: 'audit', behind: 5 }, { temporary: true }])
  looking.kill('SIGINT')
  t.same(await within(exited, 10_000, 'the end of tail'), [0, null])
  t.match(JSON.parse((await feed('readers', '--json')).stdout), [{ name: 'audit', position: 0, behind: 5 }])
  t.match(await feed('lag'), { code: 1, stderr: /5 entries behind/ })

  // A pipe that takes two lines, while more is sent: who writes into a pipe hears of its end with the next line.
  const piping = run('sh', ['-c', `"${process.execPath}" "${mainPath}" feed tail --reader audit --json ${here.map(one => `'${one}'`).join(' ')} | head -n 2`])
  let sent = 5
  const ended = new AbortController()
  piping.finally(() => { ended.abort() }).catch(() => { /* told below */ })
  while (!ended.signal.aborted) await alice.client.publishAsync('im/to/u/bob', `hello ${++sent}`, { qos: 1 })
  const piped = await piping
  t.equal(piped.code, 0, piped.stderr)
  t.equal(piped.stderr.split('\n').length, 2, piped.stderr)
  t.same(piped.stdout.trim().split('\n').map(line => (JSON.parse(line) as { message: { seq: number } }).message.seq), [1, 2])

  await alice.end()
  await server.stop()
  t.match(await feed('readers'), { code: 1, stderr: /no server runs/ })
  await server.restart()
  const again = await device(t, server.url, 'alice', { clientId: 'again' })
  await again.client.publishAsync('im/to/u/bob', 'the last', { qos: 1 })
  sent++
  const last = await feed('tail', '--reader', 'late', '--from', 'oldest', '--count', '1', '--json')
  t.match(JSON.parse(last.stdout), { kind: 'message', conv: 'd:alice:bob' })
  const [audit] = JSON.parse((await feed('readers', '--json')).stdout) as Array<{ name: string, position: number, behind: number }>
  t.equal((audit?.position ?? 0) + (audit?.behind ?? 0), sent, 'the reader is where it was')
  const rest = await feed('tail', '--reader', 'audit', '--count', String(audit?.behind))
  t.match(rest.stdout, /the last\n$/)
  t.match(await feed('remove', 'late'), { code: 0 })
  t.match(await feed('lag'), { code: 0 })
})

await t.test('the purge removes what was not read, and the reader is told', async t => {
  const server = await startServer(t)
  const here = ['--data', server.data, '--config', server.configPath]
  await cli(['feed', 'add', 'audit', ...here])
  const alice = await device(t, server.url, 'alice')
  for (let i = 1; i <= 3; i++) await alice.client.publishAsync('im/to/u/bob', `hello ${i}`, { qos: 1 })
  // Older than a second: it is what the purge goes by.
  await new Promise(resolve => setTimeout(resolve, 1100))
  t.match(await cli(['purge', '--set', 'messages.retentionSeconds=1', ...here]), { code: 0, stdout: /removed 3 messages/ })
  await alice.client.publishAsync('im/to/u/bob', 'hello 4', { qos: 1 })
  const { stdout } = await cli(['feed', 'tail', '--reader', 'audit', '--count', '2', ...here])
  t.match(stdout, /^3 {2}d:alice:bob #1 to #3: purged before they were read\n4 .* alice: hello 4\n$/)
})
