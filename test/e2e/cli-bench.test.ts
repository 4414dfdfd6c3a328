/** `sabethes bench` against a real server. */
import t from 'tap'
import { cli, startServer } from '../support/server.ts'

interface Answer { ok: boolean, pairs: number, sent: number, delivered: number, lost: number, repeated: number, refused: number, refusal?: string, deliveriesPerSecond: number, pubackMs: Record<string, number | null>, deliveryMs: Record<string, number | null> }

const unlimited = { plugins: { 'rate-limit': { messagesPerSecond: 1_000_000, burst: 1_000_000 } } }

await t.test('as fast as it goes: everything that was acknowledged arrived', async t => {
  const server = await startServer(t, { config: unlimited })
  const { code, stdout, stderr } = await cli(['bench', '--url', server.url, '--pairs', '2', '--seconds', '0.5', '--json'])
  t.equal(code, 0, stderr)
  const answer = JSON.parse(stdout) as Answer
  t.match(answer, { ok: true, pairs: 2, lost: 0, repeated: 0, refused: 0 })
  t.ok(answer.sent > 0 && answer.deliveriesPerSecond > 0)
  t.equal(answer.delivered, answer.sent)
  for (const ms of [answer.pubackMs, answer.deliveryMs]) t.ok((ms['p50'] as number) > 0 && (ms['p50'] as number) <= (ms['p99'] as number) && (ms['p99'] as number) <= (ms['max'] as number))

  const again = await cli(['bench', '--url', server.url, '--pairs', '2', '--seconds', '0.2', '--rate', '100'])
  t.equal(again.code, 0, again.stderr)
  t.match(again.stdout, /^\d+ messages\/s delivered \(\d+ sent, measured for 0\.\d s\)\nms +p50 +p99 +max\nPUBACK +[\d.]+ +[\d.]+ +[\d.]+\ndelivery +/)
})

await t.test('a rate: as many as were due', async t => {
  const server = await startServer(t)
  const { code, stdout, stderr } = await cli(['bench', '--url', server.url, '--pairs', '2', '--seconds', '0.5', '--rate', '40', '--json'])
  t.equal(code, 0, stderr)
  const answer = JSON.parse(stdout) as Answer
  t.ok(answer.sent >= 35, `${answer.sent} were sent; 40 were due in a second of warm-up and measurement`)
  t.equal(answer.delivered, answer.sent)
})

await t.test('a rate limit is said, other refusals and strangers fail', async t => {
  const server = await startServer(t, { config: { plugins: { 'rate-limit': { messagesPerSecond: 1, burst: 5, maxDelayMs: 0 } } } })
  const limited = await cli(['bench', '--url', server.url, '--pairs', '1', '--seconds', '0.3', '--json'])
  t.equal(limited.code, 0, limited.stderr)
  const answer = JSON.parse(limited.stdout) as Answer
  t.match(answer, { ok: true, lost: 0, refusal: /^rate_limited: / })
  t.ok(answer.refused > 0 && answer.delivered >= 5 && answer.delivered === answer.sent - answer.refused)
  t.match(limited.stderr, /that limit, not the server/)

  const nobody = await cli(['bench', '--url', 'mqtt://127.0.0.1:1', '--pairs', '1', '--seconds', '0.1', '--json'])
  t.equal(nobody.code, 1)
  t.match(JSON.parse(nobody.stdout), { ok: false, reason: /no server answers/ })
})

await t.test('a server that goes away', async t => {
  const server = await startServer(t, { config: unlimited })
  const running = cli(['bench', '--url', server.url, '--pairs', '1', '--seconds', '20'])
  while (!await exists(server.url)) await new Promise(resolve => setImmediate(resolve))
  await server.kill9()
  t.match(await running, { code: 1, stderr: /closed the connection|no server answers|ECONNRESET/ })
})

/** True when a message of the bench is stored: it is under way. */
async function exists (url: string): Promise<boolean> {
  const { code } = await cli(['history', 'bench-s1', '-u', 'bench-r1', '--url', url])
  return code === 0
}

await t.test('wrong usage', async t => {
  for (const [flag, value] of [['--pairs', '0'], ['--pairs', '1.5'], ['--seconds', 'x'], ['--rate', '-1'], ['--user-prefix', 'a/b'], ['--url', 'http://127.0.0.1']]) {
    t.equal((await cli(['bench', flag as string, value as string])).code, 2, `${flag} ${value}`)
  }
})
