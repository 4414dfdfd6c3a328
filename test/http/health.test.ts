/** The health pages: what they tell, and what they keep to the log. */
import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { connect, type AddressInfo } from 'node:net'
import { pino } from 'pino'
import t from 'tap'
import type { Test } from 'tap'
import { admission, createHttp } from '../../broker/http/server.ts'
import { PerSecond } from '../../broker/per-second.ts'

const requestLimits = { headersTimeoutMs: 5000, requestTimeoutMs: 10_000, keepAliveTimeoutMs: 5000, requestsPerSecond: 1000, pipelinedRequests: 16 }

await t.test('readyz says that the store fails; the address in the cause is for the log', async t => {
  let cause: Error | undefined
  let alive = true
  const lines: Array<Record<string, unknown>> = []
  const log = pino({ base: null }, { write: (line: string) => { lines.push(JSON.parse(line) as Record<string, unknown>) } })
  const http = await createHttp({ ready: async () => { if (cause !== undefined) throw cause }, alive: () => alive, version: '1.2.3', log, readyForMs: 0, limits: requestLimits, hostAllowed: () => true })
  http.listen(0, '127.0.0.1')
  await once(http, 'listening')
  t.teardown(() => { http.closeAllConnections(); http.close() })
  const get = async (path: string, method = 'GET'): Promise<{ status: number, type: string | null, text: string }> => {
    const response = await fetch(`http://127.0.0.1:${(http.address() as AddressInfo).port}${path}`, { method })
    return { status: response.status, type: response.headers.get('content-type'), text: await response.text() }
  }

  t.match(await get('/readyz'), { status: 200, type: 'application/json', text: '{"status":"ready","version":"1.2.3"}' })
  t.same(lines, [], 'nothing to tell')

  cause = new Error('connect ECONNREFUSED db.internal:27017 (mongodb://sabethes:hunter2@db.internal:27017/chat)')
  for (let i = 0; i < 3; i++) {
    const { status, type, text } = await get('/readyz')
    t.equal(status, 503)
    t.equal(type, 'application/problem+json')
    t.match(JSON.parse(text), { status: 503, code: 'unavailable', detail: /store/ }, 'it says why')
    t.notMatch(text, /db\.internal|27017|hunter2|sabethes|ECONN/, 'and not where')
  }
  t.match(lines, [{ level: 50, err: { message: /db\.internal:27017/ } }], 'the log has the cause, once for all who ask')
  t.match(await get('/healthz'), { status: 200 }, 'the process lives')
  t.match(await get('/readyz', 'HEAD'), { status: 503, text: '' })
  alive = false
  t.match(await get('/healthz'), { status: 503, type: 'application/problem+json' }, 'a store that failed for good')
  alive = true

  cause = undefined
  t.match(await get('/readyz'), { status: 200 })
  t.match(await get('/readyz'), { status: 200 })
  t.match(lines.slice(1), [{ level: 30 }], 'and says when it is over')
  t.equal(lines.length, 2)

  cause = new Error('again')
  t.match(await get('/readyz'), { status: 503 })
  t.match(lines.slice(2), [{ level: 50, err: { message: 'again' } }])
})

interface Page { port: number, asked: () => number, answer: () => void }

/** A server whose store answers when it is told to. */
async function slowStore (t: Test, limits: Partial<typeof requestLimits> = {}, readyForMs = 60_000): Promise<Page> {
  let asked = 0
  let answer = (): void => {}
  const ready = (): Promise<void> => {
    asked++
    return new Promise(resolve => { answer = resolve })
  }
  const http = await createHttp({ ready, alive: () => true, version: '1', log: pino({ level: 'silent' }), readyForMs, limits: { ...requestLimits, ...limits }, hostAllowed: () => true })
  http.listen(0, '127.0.0.1')
  await once(http, 'listening')
  t.teardown(() => { http.closeAllConnections(); http.close() })
  return { port: (http.address() as AddressInfo).port, asked: () => asked, answer: () => { answer() } }
}

const readyz = 'GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n'

/** Sends `text` and resolves to all that comes until the server closes. */
async function raw (port: number, text: string): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  let answer = ''
  socket.setEncoding('utf8').on('data', (some: string) => { answer += some })
  // A reset is one of the ways in which the server ends it.
  socket.on('error', () => { socket.destroy() })
  socket.write(text)
  await new Promise<void>(resolve => { socket.once('close', () => { resolve() }) })
  return answer
}

await t.test('one look at the store serves all who ask', async t => {
  const { port, asked, answer } = await slowStore(t)
  const asking = Array.from({ length: 20 }, () => fetch(`http://127.0.0.1:${port}/readyz`))
  while (asked() === 0) await fetch(`http://127.0.0.1:${port}/healthz`)
  answer()
  for (const response of await Promise.all(asking)) t.equal(response.status, 200)
  t.equal((await fetch(`http://127.0.0.1:${port}/readyz`)).status, 200)
  t.equal(asked(), 1)
})

await t.test('pipelinedRequests: more in one piece end the connection, unparsed', async t => {
  const { port, asked } = await slowStore(t, { pipelinedRequests: 4 })
  t.equal(await raw(port, readyz.repeat(2000)), '')
  t.equal(asked(), 0)
  const few = await raw(port, readyz.replace('/readyz', '/healthz').repeat(3) + readyz.replace('/readyz', '/healthz').replace('Host', 'Connection: close\r\nHost'))
  t.equal(few.split('"status":"ok"').length - 1, 4, 'as many are answered')
})

await t.test('requestsPerSecond: more of one address are answered 429, and their connection closed', async t => {
  const { port } = await slowStore(t, { requestsPerSecond: 3, pipelinedRequests: 100 })
  const answer = await raw(port, readyz.replace('/readyz', '/healthz').repeat(50))
  t.match(answer, /HTTP\/1\.1 429 [^]*retry-after: 1/)
  t.ok(answer.split('HTTP/1.1 ').length - 1 <= 8, 'and no more after that')
})

await t.test('requestsPerSecond: by address, second by second', async t => {
  let now = 0
  const rate = new PerSecond(2, () => now)
  t.strictSame(['a', 'a', 'a', 'b'].map(address => rate.take(address)), [true, true, false, true])
  t.strictSame(['a', 'b', 'c'].map(address => rate.has(address)), [false, true, true])
  now = 999
  t.notOk(rate.take('a'))
  now = 1000
  t.ok(rate.has('a'))
  t.ok(rate.take('a'))
})

await t.test('an answer that nobody takes does not keep its connection', async t => {
  const { port } = await slowStore(t, { requestTimeoutMs: 100, headersTimeoutMs: 100 })
  t.equal(await raw(port, readyz), '', 'the store has not answered')
})

await t.test('the rate is that of a network: of IPv6 a /64', async t => {
  const log = pino({ level: 'silent' })
  const admit = admission({ log, limits: { ...requestLimits, requestsPerSecond: 3 }, hostAllowed: () => true })
  const status = (remoteAddress: string): number => {
    let code = 0
    const request = { method: 'GET', url: '/healthz', headers: {}, socket: { remoteAddress, destroyed: false } } as unknown as IncomingMessage
    const response = { req: request, writeHead (status: number) { code = status }, end () {} } as unknown as ServerResponse
    return admit(request, response) ? 200 : code
  }
  t.strictSame(['2001:db8::1', '2001:db8::2', '2001:db8:0:0:ffff::3', '2001:db8::4', '2001:db8:0:1::1'].map(status), [200, 200, 200, 429, 200])
})
