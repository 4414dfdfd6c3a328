/** What every HTTP listener of this server has in common: ways, methods, bodies, problems. */
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { connect, type AddressInfo } from 'node:net'
import { pino } from 'pino'
import type { Test } from 'tap'
import t from 'tap'
import { z } from 'zod'
import { Refusal } from '../../broker/errors.ts'
import { createApp, type Routes } from '../../broker/http/app.ts'
import { answerLines } from '../../broker/http/json-lines.ts'
import { problemOf, refusalOf, wrongMethod } from '../../broker/http/problem.ts'
import { createHttp } from '../../broker/http/server.ts'

const limits = { headersTimeoutMs: 5000, requestTimeoutMs: 10_000, keepAliveTimeoutMs: 5000, requestsPerSecond: 1000, pipelinedRequests: 16 }
const problem = (error: unknown): ReturnType<typeof problemOf> => problemOf(refusalOf(error) ?? new Refusal('internal'))

async function portOf (t: Test, server: Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => { server.closeAllConnections(); server.close() })
  return (server.address() as AddressInfo).port
}

async function served (t: Test, ...routes: Routes[]): Promise<number> {
  return await portOf(t, await createApp({
    listener: handler => createServer(handler),
    routes,
    maxBodyBytes: 100,
    missing: (_method, _path, allowed) => allowed.length > 0 ? wrongMethod(allowed) : problemOf(new Refusal('not_found')),
    problemOf: problem
  }))
}

/** Sends `text` and resolves to all that comes until the server closes. */
async function raw (port: number, text: string): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  let answer = ''
  socket.setEncoding('utf8').on('data', (some: string) => { answer += some })
  // A reset is one of the ways in which the server ends it.
  socket.on('error', () => { socket.destroy() })
  socket.write(text)
  await once(socket, 'close')
  return answer
}

async function ask (port: number, method: string, target: string, more = ''): Promise<{ status: number, head: string, body: string }> {
  const answer = await raw(port, `${method} ${target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n${more === '' ? '\r\n' : more}`)
  const [head = '', body = ''] = answer.split('\r\n\r\n')
  return { status: Number(head.split(' ')[1]), head: head.toLowerCase(), body }
}

const seen: unknown[] = []
/** What bad code throws. */
const nothing = undefined as unknown as Error
const things: Routes = app => {
  app.get('/things', async () => ({ all: [] }))
  app.put('/things/:id/name', { schema: { params: z.object({ id: z.string().max(3) }), querystring: z.object({ at: z.coerce.number().default(7) }), body: z.strictObject({ name: z.string().optional() }) } }, async ({ params, query, body }) => {
    seen.push([params.id, query.at, body.name])
    return {}
  })
  app.post('/fails', async () => { throw new TypeError('secret of db.internal') })
  app.post('/fails/oddly', async () => { throw nothing })
  app.post('/refuses', async () => { throw new Refusal('rate_limited', 'slowly', 1500) })
  app.get('/lines', async (_request, reply) => { await answerLines(reply, problem, async write => { for (const n of [1, 2]) write({ n }) }) })
  app.get('/lines/none', async (_request, reply) => { await answerLines(reply, problem, async () => {}) })
  app.get('/lines/late', async (_request, reply) => {
    await answerLines(reply, problem, async write => {
      write({ n: 1 })
      throw new Refusal('conflict', 'meanwhile')
    })
  })
  app.get('/lines/early', async (_request, reply) => { await answerLines(reply, problem, async () => { throw new Refusal('conflict', 'before') }) })
}

await t.test('a route has one spelling', async t => {
  const port = await served(t, things)
  t.equal((await ask(port, 'GET', '/things')).status, 200)
  t.equal((await ask(port, 'GET', '/things?a=1')).status, 200)
  for (const target of ['/', '/things/', '//things', '/./things', '/x/../things', '/%74hings', '/things%00', '/things%2F', '/things;a=1', '/things#x', 'http://a/things', 'http://b/things', '*']) {
    const { status, head, body } = await ask(port, 'GET', target)
    t.strictSame([target, status, (JSON.parse(body) as { code: string }).code], [target, 404, 'not_found'])
    t.match(head, 'content-type: application/problem+json\r\n')
  }
  for (const target of ['/thing%73/a/name', '/things/a/nam%65', '/things/a/b/name', '/things/a/name/', '/things/a#/name']) t.equal((await ask(port, 'PUT', target)).status, 404, target)
  for (const target of ['/things/%/name', '/things/%ff/name', '/things/' + 'x'.repeat(500) + '/name']) t.equal((await ask(port, 'PUT', target)).status, 400, target)
  t.strictSame(seen, [])
  t.equal(await raw(port, 'GET /things\0 HTTP/1.1\r\nHost: a\r\n\r\n'), 'HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n', 'a NUL is no HTTP')
})

await t.test('methods', async t => {
  const port = await served(t, things)
  const get = await ask(port, 'GET', '/things')
  const head = await ask(port, 'HEAD', '/things')
  t.strictSame([get.status, get.body, head.status, head.body], [200, '{"all":[]}', 200, ''])
  for (const line of ['content-type: application/json\r\n', 'content-length: 10\r\n', 'cache-control: no-store\r\n', 'x-content-type-options: nosniff\r\n']) {
    t.match(get.head, line)
    t.match(head.head, line)
  }
  for (const method of ['POST', 'DELETE', 'OPTIONS', 'TRACE', 'PROPFIND']) {
    const { status, head, body } = await ask(port, method, '/things')
    t.equal(status, 405, method)
    t.match(head, 'allow: get, head\r\n')
    t.match(JSON.parse(body), { status: 405, code: 'method_not_allowed' })
  }
})

await t.test('parameters and bodies are read by their schemas', async t => {
  const port = await served(t, things)
  const put = async (target: string, body: string, type = ''): Promise<number> => (await ask(port, 'PUT', target, `${type}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`)).status
  t.equal(await put('/things/%2e%2e/name?at=3', '{"name":"é"}'), 200)
  t.equal(await put('/things/./name', '', 'Content-Type: text/plain\r\n'), 200)
  t.equal((await ask(port, 'PUT', '/things/a/name', 'Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n')).status, 200)
  t.equal((await ask(port, 'PUT', '/things/b/name')).status, 200)
  t.strictSame(seen.splice(0), [['..', 3, 'é'], ['.', 7, undefined], ['a', 7, undefined], ['b', 7, undefined]])
  for (const [target, body] of [['/things/aaaa/name', '{}'], ['/things/a%00bc/name', '{}'], ['/things/a/name?at=x', '{}'], ['/things/a/name', '{'], ['/things/a/name', 'null'], ['/things/a/name', '[]'], ['/things/a/name', '{"name":1}'], ['/things/a/name', '{"__proto__":{}}'], ['/things/a/name', '{"nme":""}']] as const) {
    t.equal(await put(target, body), 400, `${target} ${body}`)
  }
  t.strictSame(seen, [])
})

await t.test('bodies that are too long or lie about their length', async t => {
  const port = await served(t, things)
  const long = `{"name":"${'x'.repeat(200)}"}`
  const declared = await ask(port, 'PUT', '/things/a/name', `Content-Length: ${long.length}\r\n\r\n${long}`)
  t.match(declared, { status: 413, body: /"code":"too_large"/ })
  const chunked = await raw(port, `PUT /things/a/name HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n${long.length.toString(16)}\r\n${long}\r\n${'1\r\nx\r\n'.repeat(50)}`)
  t.match(chunked, /^HTTP\/1\.1 413 /, 'answered before its end, and the connection closed')
  t.match(await raw(port, 'PUT /things/a/name HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}'), /^HTTP\/1\.1 400 /, 'two lengths')
  t.match(await raw(port, 'PUT /things/a/name HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}'), /^HTTP\/1\.1 400 /, 'two lengths')
  t.match(await ask(port, 'PUT', '/nothing', `Content-Length: 1000000000\r\n\r\n${long}`), { status: 404 }, 'no body is read for what is not there')
  t.strictSame(seen, [])
})

await t.test('failures become problems', async t => {
  const port = await served(t, things)
  const fails = await ask(port, 'POST', '/fails')
  t.match(JSON.parse(fails.body), { type: 'about:blank', status: 500, code: 'internal' })
  t.notMatch(fails.body, 'secret')
  t.match(await ask(port, 'POST', '/fails/oddly'), { status: 500, body: /"code":"internal"/ })
  t.strictSame(JSON.parse((await ask(port, 'POST', '/refuses')).body), { type: 'about:blank', title: 'too much in too short a time', status: 429, code: 'rate_limited', detail: 'slowly', retryAfterMs: 1500 })
})

await t.test('answers in lines', async t => {
  const port = await served(t, things)
  const lines = async (path: string): Promise<unknown> => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`)
    return [response.status, response.headers.get('content-type'), (await response.text()).trim().split('\n').map(line => JSON.parse(line) as unknown)]
  }
  t.strictSame(await lines('/lines'), [200, 'application/x-ndjson', [{ n: 1 }, { n: 2 }, { ok: true }]])
  t.strictSame(await lines('/lines/none'), [200, 'application/x-ndjson', [{ ok: true }]])
  t.match(await lines('/lines/late'), [200, 'application/x-ndjson', [{ n: 1 }, { problem: { code: 'conflict', detail: 'meanwhile' } }]])
  t.match(await lines('/lines/early'), [409, 'application/problem+json', [{ code: 'conflict', detail: 'before' }]])
})

await t.test('on TCP a fault is for the log, and a connection with a body ends', async t => {
  const lines: Array<Record<string, unknown>> = []
  const log = pino({ base: null }, { write: (line: string) => { lines.push(JSON.parse(line) as Record<string, unknown>) } })
  const alive = (): boolean => { throw new TypeError('secret of db.internal') }
  const port = await portOf(t, await createHttp({ ready: async () => {}, alive, version: '1', log, readyForMs: 0, limits, hostAllowed: () => true }))
  const { status, body } = await ask(port, 'GET', '/healthz')
  t.equal(status, 500)
  t.notMatch(body, 'secret')
  t.match(lines, [{ level: 50, msg: 'a page failed', err: { message: /secret/ } }])
  t.match(await raw(port, 'GET /readyz HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n'), /^HTTP\/1\.1 200 (?![^]*HTTP\/1\.1)/)
  for (const method of ['POST', 'PUT']) t.match(await ask(port, method, '/readyz', 'Content-Type: a b c\r\nContent-Length: 1000000\r\n\r\nx'), { status: 405 }, 'unread')
  const kept = 'GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n'
  t.equal((await raw(port, kept + kept.replace('Host', 'Connection: close\r\nHost'))).split('HTTP/1.1 404').length - 1, 2, 'others go on')
})
