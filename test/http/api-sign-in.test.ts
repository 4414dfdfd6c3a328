/** Who may use the API, and for how long: every route refuses who may not, as MQTT does. */
import { once } from 'node:events'
import { connect } from 'node:net'
import t from 'tap'
import { requests, verbs } from '../../broker/operations.ts'
import type { HttpRoute } from '../../broker/operations/operation.ts'
import { ApiClient, type Answered } from '../support/api-client.ts'
import { device } from '../support/mqtt.ts'
import { operator as operate } from '../support/operator.ts'
import { startServer } from '../support/server.ts'

const server = await startServer(t, {
  config: {
    auth: { mode: 'password', tokens: { accessSeconds: 10 }, failureLimit: 1000, accountFailureLimit: 1000, addressFailureLimit: 1000 },
    http: { requestsPerSecond: 10_000, cors: ['https://chat.example.com'] },
    groups: { consent: 'everybody' }
  }
})

const operator = async (method: string, path: string, body?: object): Promise<void> => { await operate(server, method, path, body) }
for (const user of ['alice', 'bob', 'carol', 'eve']) await operator('PUT', `/v1/users/${user}`, { password: `${user} secret` })
const as = (user: string, password = `${user} secret`): ApiClient => new ApiClient(server.httpPort, user, password)

const routes = [...requests.values(), ...verbs.values()].flatMap(({ name, http = [] }) => http.map(route => ({ name, route })))
/** Something that the path's parameters can be; alice has nothing to do with any of it. */
const foreign: Record<string, string | number> = { conv: 'd:bob:carol', gid: 'theirs', user: 'carol', seq: 1 }
async function go (client: ApiClient, route: HttpRoute, params = foreign, more: Record<string, unknown> = {}): Promise<Answered> {
  const [method = '', template = ''] = route.split(' ')
  const path = template.replaceAll(/\{(\w+)\}/g, (_all, name: string) => String(params[name]))
  return await client.json(method, path, method === 'POST' || method === 'PUT' ? more : undefined)
}
const sends: HttpRoute[] = ['POST /v1/to/u/{user}', 'POST /v1/to/g/{gid}']

await as('bob').send('u/carol', 'a secret')
await as('bob').ask('groups.create', { gid: 'theirs', members: ['carol'] })
interface Login { id: string, accessToken: string, refreshToken: string, expiresAt: number }
const login = async (user: string): Promise<Login> => (await as(user).ask('tokens.create', { password: `${user} secret` })).body as unknown as Login
const [expiring, revoked, banned] = [await login('alice'), await login('alice'), await login('eve')]
await as('alice').ask('tokens.revoke', { id: revoked.id })
await operator('PUT', '/v1/users/eve/ban')

await t.test('every route: no token, a wrong one, one of a stranger, a banned one', async t => {
  const anonymous = new ApiClient(server.httpPort, '', null)
  for (const route of [...routes.map(one => one.route), ...sends]) {
    const none = await go(anonymous, route)
    t.match(none, { status: 401, body: { code: 'unauthorized' } }, route)
    t.equal(none.headers.get('www-authenticate'), 'Bearer realm="sabethes", Basic realm="sabethes", charset="UTF-8"')
    t.equal(none.headers.get('cache-control'), 'no-store')
    const wrong = await go(as('alice', 'wrong'), route)
    t.match(wrong, { status: 401, body: { code: 'unauthorized' } }, route)
    t.strictSame((await go(as('nobody', 'wrong'), route)).body, wrong.body, 'an unknown name gets the same answer')
    t.match(await go(as('eve'), route), { status: 403, body: { code: 'banned' } }, route)
  }
})

await t.test('every route: a token that is revoked, expired, cut short, one of a banned user, one of somebody else', async t => {
  const wrong = { revoked: revoked.accessToken, 'cut short': expiring.accessToken.slice(0, -1), expired: expiring.accessToken }
  const works = async (): Promise<boolean> => (await new ApiClient(server.httpPort, 'alice', expiring.accessToken, 'Bearer').ask('unread')).status === 200
  while (Date.now() < expiring.expiresAt || await works()) await new Promise(resolve => setTimeout(resolve, 50))
  for (const route of [...routes.map(one => one.route), ...sends]) {
    for (const [why, token] of Object.entries(wrong)) {
      for (const scheme of ['Bearer', 'Basic'] as const) t.match(await go(new ApiClient(server.httpPort, 'alice', token, scheme), route), { status: 401, body: { code: 'unauthorized' } }, `${why} ${route}`)
    }
    t.match(await go(new ApiClient(server.httpPort, 'bob', banned.accessToken), route), { status: 401 }, `of another user ${route}`)
    const gone = await go(new ApiClient(server.httpPort, '', banned.accessToken, 'Bearer'), route)
    t.ok(gone.status === 401 || gone.status === 403, `of a banned user ${route}`)
  }
  const fresh = await login('alice')
  t.equal((await new ApiClient(server.httpPort, '', fresh.accessToken, 'Bearer').ask('unread')).status, 200, 'and one that is right is taken')
})

await t.test('every route: what is another\'s is refused as over MQTT', async t => {
  const alice = await device(t, server.url, 'alice', { password: 'alice secret' })
  const needed: Record<string, Record<string, unknown>> = { 'groups.add': { users: ['alice'] }, 'groups.remove': { users: ['carol'] }, 'groups.role': { role: 'admin' }, 'messages.delete': { seqs: [1] } }
  let count = 0
  for (const { name, route } of routes) {
    const inPath = [...route.matchAll(/\{(\w+)\}/g)].map(([, param = '']) => param)
    const operation = requests.get(name)
    if (operation === undefined || (!inPath.includes('conv') && !inPath.includes('gid'))) continue
    for (const conv of ['d:bob:carol', 'g:theirs']) {
      const params = { ...foreign, conv }
      const over = await alice.ask(name, { ...Object.fromEntries(inPath.map(param => [param, params[param as keyof typeof params]])), ...needed[name] })
      const answered = await go(as('alice'), route, params, needed[name])
      count++
      // There is no invitation, and none afterwards.
      if (name === 'groups.refuse') {
        t.strictSame([over.ok, answered.status], [true, 200])
        continue
      }
      t.match(over, { ok: false, code: /^(not_found|forbidden)$/ }, name)
      t.match(answered, { body: { code: over.code, detail: over.reason } }, name)
    }
  }
  t.ok(count > 20, `${count}`)
  t.match(await go(as('alice'), 'POST /v1/conversations/{conv}/read', { conv: 'd:bob:carol' }, { seq: 1 }), { status: 404 })
  t.match(await go(as('alice'), 'POST /v1/conversations/{conv}/read', { conv: 'g:theirs' }, { seq: 1 }), { status: 404 })
  t.match(await as('alice').send('g/theirs', 'x'), { status: 404, body: { code: 'not_found' } })
  t.match(await as('alice').send('u/nobody', 'x'), { status: 404, body: { code: 'not_found' } })
})

await t.test('credentials in other shapes', async t => {
  const status = async (authorization: string, path = '/v1/unread'): Promise<number> => (await fetch(`http://127.0.0.1:${server.httpPort}${path}`, { headers: { authorization } })).status
  const pair = (text: string): string => Buffer.from(text).toString('base64')
  t.equal(await status(`basic  ${pair('alice:alice secret')}`), 200, 'the scheme has no case')
  for (const wrong of ['Basic', 'Basic !', `Basic ${pair('alice')}`, `Basic ${pair(':alice secret')}`, `Basic ${pair('a b:x')}`, `Basic ${pair('alice:')}`, `Basic ${pair('alice:alice secret\0')}`, `Bearer ${pair('alice:alice secret')}`, 'Bearer', 'Bearer a b', `Digest ${pair('alice:alice secret')}`, `Basic ${pair('alice:' + 'x'.repeat(5000))}`, `Basic ${'A'.repeat(15_000)}`]) {
    t.equal(await status(wrong), 401, wrong.slice(0, 60))
  }
  const url = `http://127.0.0.1:${server.httpPort}/v1/unread?access_token=${pair('alice:alice secret')}`
  t.equal((await fetch(url)).status, 401, 'not in the address, which is logged')
  t.notMatch(server.logs(), /secret|YWxpY2U6/)
})

await t.test('a ban and a new password hold from the next request on', async t => {
  t.equal((await as('bob').ask('unread')).status, 200)
  await operator('PUT', '/v1/users/bob/ban')
  t.match(await as('bob').ask('unread'), { status: 403, body: { code: 'banned' } })
  await operator('DELETE', '/v1/users/bob/ban')
  t.equal((await as('bob').ask('unread')).status, 200)
  await operator('PUT', '/v1/users/bob/password', { password: 'changed' })
  t.equal((await as('bob').ask('unread')).status, 401)
  t.equal((await as('bob', 'changed').ask('unread')).status, 200)
  await operator('PUT', '/v1/users/bob/password', { password: 'bob secret' })
  await operator('PUT', '/v1/users/dan', { password: 'dan secret' })
  t.equal((await as('dan').ask('unread')).status, 200)
  await operator('DELETE', '/v1/users/dan')
  t.equal((await as('dan').ask('unread')).status, 401)
})

await t.test('also while the body is on its way', async t => {
  const authorization = `Basic ${Buffer.from('bob:bob secret').toString('base64')}`
  const socket = connect(server.httpPort, '127.0.0.1')
  let answer = ''
  socket.setEncoding('utf8').on('data', (text: string) => { answer += text })
  const begun = once(socket, 'data')
  socket.write(`POST /v1/to/u/carol HTTP/1.1\r\nHost: localhost\r\nAuthorization: ${authorization}\r\nExpect: 100-continue\r\nContent-Length: 5\r\nConnection: close\r\n\r\n`)
  await begun
  t.match(answer, /^HTTP\/1\.1 100 /)
  // One more request of the same kind has been admitted after it: by then it has been, too.
  t.equal((await as('bob').ask('unread')).status, 200)
  await operator('PUT', '/v1/users/bob/ban')
  socket.write('hello')
  await once(socket, 'close')
  t.match(answer, /\r\n\r\nHTTP\/1\.1 403 [^]*"code":"banned"/)
  await operator('DELETE', '/v1/users/bob/ban')
  const { body } = await as('carol').ask('messages.history', { conv: 'd:bob:carol' })
  t.match(body, { head: 1 })
})

await t.test('pages of other origins', async t => {
  const ask = (method: string, origin: string | undefined, headers: Record<string, string> = {}): Promise<Answered> => as('alice').fetch(method, '/v1/unread', undefined, { ...origin !== undefined && { origin }, ...headers })
  const listed = await ask('GET', 'https://chat.example.com')
  t.equal(listed.status, 200)
  t.strictSame([listed.headers.get('access-control-allow-origin'), listed.headers.get('vary'), listed.headers.get('access-control-allow-credentials')], ['https://chat.example.com', 'Origin', null])
  const own = await ask('GET', `http://127.0.0.1:${server.httpPort}`)
  t.strictSame([own.status, own.headers.get('access-control-allow-origin')], [200, null])
  for (const origin of ['https://evil.example.com', 'null', 'https://chat.example.com.evil.com', 'http://chat.example.com']) {
    const refused = await ask('GET', origin)
    t.match(refused, { status: 403, body: { code: 'forbidden' } }, origin)
    t.equal(refused.headers.get('access-control-allow-origin'), null)
    const preflight = await fetch(`http://127.0.0.1:${server.httpPort}/v1/unread`, { method: 'OPTIONS', headers: { origin, 'access-control-request-method': 'GET' } })
    t.strictSame([preflight.status, preflight.headers.get('access-control-allow-origin'), preflight.headers.get('access-control-allow-methods')], [204, null, null])
  }
  const preflight = await fetch(`http://127.0.0.1:${server.httpPort}/v1/groups/x/members`, { method: 'OPTIONS', headers: { origin: 'https://chat.example.com', 'access-control-request-method': 'POST' } })
  t.strictSame([preflight.status, preflight.headers.get('access-control-allow-origin'), preflight.headers.get('access-control-allow-methods'), preflight.headers.get('access-control-allow-headers')], [204, 'https://chat.example.com', 'GET, POST, PUT, DELETE', 'Authorization, Content-Type, Idempotency-Key, Last-Event-ID'])
})

await t.test('methods', async t => {
  for (const [method, path, allow] of [['PATCH', '/v1/groups/x', 'GET, HEAD, DELETE, OPTIONS'], ['GET', '/v1/to/u/bob', 'POST, OPTIONS'], ['DELETE', '/v1/blocks', 'GET, HEAD, OPTIONS']] as const) {
    const { status, headers, body } = await as('alice').fetch(method, path)
    t.match({ status, body }, { status: 405, body: { code: 'method_not_allowed' } })
    t.strictSame(headers.get('allow')?.split(', ').sort(), allow.split(', ').sort(), path)
  }
  t.match(await as('alice').fetch('GET', '/v1/nothing'), { status: 404 })
  t.match(await as('alice').fetch('HEAD', '/v1/groups'), { status: 200, body: {} })
})
