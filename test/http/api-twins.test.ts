/** What is asked over HTTP is answered as over MQTT: every request of the table, each in a world of its own. */
import t from 'tap'
import { requests } from '../../broker/operations.ts'
import { ApiClient, type Answered } from '../support/api-client.ts'
import { device } from '../support/mqtt.ts'
import { conv, done, examples, said } from '../support/operation-examples.ts'
import { checkResult } from '../support/results.ts'
import { startServer, type Server } from '../support/server.ts'

const names = /\b(alice|bob|eve|dora|mallory|zoe|crowd|theirs|asked|new)\b/g
/** A value with the names of another world. */
function inWorld<Value> (value: Value, world: string): Value { return JSON.parse(JSON.stringify(value).replaceAll(names, `$1.${world}`)) as Value }
/** An answer without the names of its world, and without what is never the same. */
function plain (answer: unknown, world: string): unknown {
  return JSON.parse(JSON.stringify(answer).replaceAll(`.${world}`, ''), (key, value: unknown) => ['id', 'cid', 'ts', 'since', 'createdAt', 'next'].includes(key) ? typeof value : value)
}

async function fill (server: Server, world: string): Promise<void> {
  const as = (user: string): ApiClient => new ApiClient(server.httpPort, `${user}.${world}`)
  for (const { from, to, text } of said) await as(from).send(`u/${to}.${world}`, text)
  for (const { by, method, params } of done) {
    const { status, body } = await as(by).ask(method, inWorld(params, world))
    if (status !== 200) throw new Error(`${method}: ${JSON.stringify(body)}`)
  }
}

const server = await startServer(t)
// Those of password mode are in test/e2e/tokens.
const users = [...requests.values()].filter(({ name, permission }) => permission === 'user' && examples[name]?.mode === undefined).map(({ name }) => name)

await t.test('every request of users has a route, the operator\'s have none, and no two are alike', t => {
  for (const { name, http = [], permission } of requests.values()) t.equal(http.length > 0, permission === 'user', name)
  const routes = [...requests.values()].flatMap(({ http = [] }) => http.map(route => route.replaceAll(/\{\w+\}/g, '{}')))
  t.equal(new Set(routes).size, routes.length)
  t.end()
})

for (const [at, name] of users.entries()) {
  await t.test(name, async t => {
    const example = examples[name]
    if (example === undefined) return t.fail('it has no example')
    const [m, h] = [`m${at}`, `h${at}`]
    await fill(server, m)
    await fill(server, h)
    const mqtt = await device(t, server.url, `alice.${m}`)
    const http = new ApiClient(server.httpPort, `alice.${h}`)
    const compare = async (params: Record<string, unknown>): Promise<Answered> => {
      const over = await mqtt.ask(name, inWorld(params, m))
      const answered = await http.ask(name, inWorld(params, h))
      if (over.ok === true) {
        t.equal(answered.status, 200)
        checkResult(name, answered.body)
        t.strictSame(plain(answered.body, h), plain(over.result, m), JSON.stringify(params))
      } else {
        const { status: _, title, type, ...rest } = answered.body
        t.strictSame([type, answered.headers.get('content-type')], ['about:blank', 'application/problem+json'])
        t.strictSame(plain(rest, h), plain({ code: over.code, detail: over.reason, ...over.retryAfterMs !== undefined && { retryAfterMs: over.retryAfterMs } }, m), JSON.stringify(params))
      }
      return answered
    }
    const pathHas = (params: Record<string, unknown>): boolean => [...(requests.get(name)?.http?.at(-1) ?? '').matchAll(/\{(\w+)\}/g)].every(([, param = '']) => typeof params[param] !== 'number' && Boolean(params[param]))
    // A number in a query is a number.
    if (example.refusal[0] !== '' && pathHas(example.bad) && name !== 'messages.history') await compare(example.bad)
    const { body } = await compare({ ...example.good, ...'with' in example.good && { conv } })
    if (name !== 'server.info') t.match(plain(body, h), plain(example.result, h))
  })
}

await t.test('what the query cannot mean is said in the words of the schema', async t => {
  const alice = new ApiClient(server.httpPort, 'alice')
  await alice.send('u/bob', 'one')
  const detail = async (path: string): Promise<unknown> => (await alice.fetch('GET', path)).body.detail
  t.equal(await detail('/v1/conversations?limit=many'), 'limit: must be a whole number from 1 to 1000')
  t.equal(await detail('/v1/conversations?limit='), 'limit: must be a whole number from 1 to 1000')
  t.equal(await detail('/v1/conversations?limit=1&limit=2'), 'limit: is given more than once')
  t.match(await alice.fetch('GET', '/v1/conversations?limit=1&unknown=2'), { status: 200 })
  t.equal(await detail('/v1/conversations/nothing/messages'), 'conv: must be a conversation id, d:{user}:{user} or g:{gid}')
  t.match(await alice.fetch('GET', '/v1/conversations/d:alice:bob/messages?after=0'), { status: 200, body: { messages: { length: 1 } } })
})

await t.test('GET changes nothing', async t => {
  const alice = new ApiClient(server.httpPort, 'alice.get')
  await alice.ask('groups.consent', { consent: 'nobody' })
  t.match(await alice.fetch('GET', '/v1/consent?consent=everybody'), { status: 200, body: { consent: 'nobody' } })
})

await t.test('bodies: the path and the request go before what they say', async t => {
  const alice = new ApiClient(server.httpPort, 'alice.body')
  await alice.ask('groups.create', { gid: 'one.body' })
  const post = (body: string, type = 'application/json'): Promise<Answered> => alice.fetch('POST', '/v1/groups/one.body/members', body, { 'content-type': type })
  t.match(await post('{"users":["x"],"gid":"other","rid":"y"}'), { status: 200, body: { added: ['x'] } })
  t.match(await post(' \n{ "users" : ["y"] }\n'), { status: 200, body: { added: ['y'] } })
  for (const body of ['[]', '{', '}', '{"users":["z"]', '{"users":["z"],}', '"x"', '{"a":"\\"}', '{} {}', '{"a":{"b":1}', 'null']) {
    t.match(await post(body), { status: 400, body: { code: 'bad_payload' } }, body)
  }
  t.match(await post(`{"users":["z"],"deep":${'['.repeat(40)}${']'.repeat(40)}}`), { status: 400, body: { detail: /nested deeper/ } })
  t.match(await post('{"users":["z"]}', 'text/plain'), { status: 400, body: { detail: /application\/json/ } })
  t.match(await post('{"users":["z"]}', 'application/vnd.chat+json; charset=utf-8'), { status: 200, body: { added: ['z'] } })
  t.match(await alice.fetch('POST', '/v1/groups'), { status: 200, body: { size: 1 } }, 'no body is an empty object')
  t.match(await post(`{"users":["${'x'.repeat(70_000)}"]}`), { status: 413, body: { code: 'too_large' } })
})

await t.test('large answers are packed for those who take it', async t => {
  const alice = new ApiClient(server.httpPort, 'alice.gzip')
  for (let i = 0; i < 30; i++) await alice.send('u/bob.gzip', `${i} ${'word '.repeat(200)}`)
  const ask = async (path: string, encoding: string): Promise<[string | null, string | null, unknown]> => {
    const { headers, body } = await alice.fetch('GET', path, undefined, { 'accept-encoding': encoding })
    return [headers.get('content-encoding'), headers.get('vary'), body]
  }
  const path = '/v1/conversations/d:alice.gzip:bob.gzip/messages'
  const [none, , plainly] = await ask(path, 'identity')
  const [gzip, vary, unpacked] = await ask(path, 'br, gzip;q=0.8')
  t.strictSame([none, gzip, vary], [null, 'gzip', 'Accept-Encoding'])
  t.strictSame(unpacked, plainly)
  t.match(plainly, { messages: { length: 30 } })
  t.equal((await ask(path, 'gzip;q=0'))[0], null)
  t.equal((await ask(`${path}?limit=1`, 'gzip'))[0], null, 'not what is small')
  const all = await alice.ask('sync', { gzip: true })
  t.match(all, { status: 200, body: { conversations: [{ messages: { length: 30 } }] } })
})

await t.test('read marks', async t => {
  const [alice, bob] = [new ApiClient(server.httpPort, 'alice.read'), new ApiClient(server.httpPort, 'bob.read')]
  for (const text of ['1', '2', '3']) await alice.send('u/bob.read', text)
  const listener = await device(t, server.url, 'alice.read')
  await listener.subscribe('im/u/alice.read/event')
  const path = '/v1/conversations/d:alice.read:bob.read/read'
  t.match(await bob.json('POST', path, { seq: 2 }), { status: 204 })
  const kinds = [await listener.nextJson('im/u/alice.read/event'), await listener.nextJson('im/u/alice.read/event')]
  t.match(kinds.find(({ kind }) => kind === 'read'), { seq: 2, by: 'bob.read' })
  t.match(await bob.json('POST', path, 3), { status: 204 })
  t.match(await bob.ask('unread'), { body: { total: 0 } })
  t.match(await bob.json('POST', path, 'x'), { status: 400, body: { code: 'bad_payload' } })
  t.match(await bob.json('POST', '/v1/conversations/d:alice.read:zoe/read', 1), { status: 404, body: { code: 'not_found' } })
  for (const conv of ['x', 'd:bob.read', 'd:zoe:alice', 'g:', 'd:a:b:c', 'd:alice.read:bob%20x']) t.match(await bob.json('POST', `/v1/conversations/${conv}/read`, 1), { status: 400 }, conv)
})
