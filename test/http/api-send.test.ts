/** Sending over HTTP: the same messages, numbers, refusals and promises as over MQTT. */
import { once } from 'node:events'
import { connect } from 'node:net'
import t from 'tap'
import { ApiClient, type Answered } from '../support/api-client.ts'
import { within } from '../support/mailbox.ts'
import { listen, mosquittoPub, requireMosquitto } from '../support/mosquitto.ts'
import { device } from '../support/mqtt.ts'
import { run, startServer } from '../support/server.ts'
import { requireTool } from '../support/tools.ts'

const server = await startServer(t, { config: { messages: { maxBytes: 2000 }, http: { concurrencyPerUser: 4 }, plugins: { 'rate-limit': { burst: 2000, messagesPerSecond: 1000 } } } })
const as = (user: string): ApiClient => new ApiClient(server.httpPort, user)

await t.test('curl to mosquitto_sub, mosquitto_pub to curl', async t => {
  if (!requireMosquitto(t) || !requireTool(t, 'curl')) return
  const { lines } = await listen(t, server.mqttPort, '-u', 'bob', '-i', 'phone', '-t', 'im/u/bob/inbox', '-q', '1')
  const curl = async (...args: string[]): Promise<Record<string, unknown>> => {
    const { code, stdout, stderr } = await run('curl', ['-sS', '-u', 'alice:', ...args])
    t.equal(code, 0, stderr)
    return JSON.parse(stdout) as Record<string, unknown>
  }
  const base = `http://127.0.0.1:${server.httpPort}/v1`
  const first = await curl(`${base}/to/u/bob`, '-d', 'hello')
  t.match(JSON.parse(await lines.take()), { ...first, from: 'alice', to: 'u/bob', type: 'text', body: 'hello', seq: 1 })
  t.equal((await mosquittoPub(server.mqttPort, '-u', 'alice', '-t', 'im/to/u/bob', '-q', '1', '-m', 'over MQTT')).code, 0)
  t.match(JSON.parse(await lines.take()), { seq: 2, body: 'over MQTT' })
  const third = await curl(`${base}/to/u/bob`, '-H', 'Content-Type: application/json', '-d', '{"type":"image","body":{"a":1.50},"cid":"c-3","meta":{"m":1}}')
  t.match(third, { seq: 3, cid: 'c-3', conv: 'd:alice:bob' })
  const line = await lines.take()
  t.match(line, '"type":"image","body":{"a":1.50},"meta":{"m":1}', 'as it was written')
  t.match(JSON.parse(line), third)
  const { messages } = await curl(`${base}/conversations/d:alice:bob/messages?limit=10`)
  t.match(messages, [first, { seq: 2, body: 'over MQTT' }, third])
})

await t.test('payloads are read as over MQTT', async t => {
  const bob = await device(t, server.url, 'bob.p')
  await bob.subscribe('im/u/bob.p/inbox')
  const bytes = Buffer.from([0xff, 0x00, 0x01])
  for (const [type, body, shown] of [
    ['text/plain', '{"body":"x"}', { type: 'text', body: '{"body":"x"}' }],
    ['text/plain; charset=utf-8', 'é', { type: 'text', body: 'é' }],
    ['application/json', '{"temp":21}', { type: 'json', body: { temp: 21 } }],
    ['application/json', '"x"', { type: 'json', body: 'x' }],
    ['application/x-www-form-urlencoded', '{"body":"x"}', { type: 'text', body: 'x' }],
    ['application/x-www-form-urlencoded', '{"temp":21}', { type: 'text', body: '{"temp":21}' }],
    ['application/octet-stream', 'abc', { type: 'binary', body: 'YWJj' }],
    ['image/png', bytes, { type: 'binary', body: bytes.toString('base64') }]
  ] as const) {
    const receipt = await as('alice.p').send('u/bob.p', body, { 'content-type': type })
    t.equal(receipt.status, 201, type)
    t.match(await bob.nextJson('im/u/bob.p/inbox'), { ...shown, ...receipt.body })
  }
  for (const [type, body, status, code] of [
    ['text/plain', '', 400, 'bad_payload'],
    ['application/json', '{', 400, 'bad_payload'],
    ['text/plain', bytes, 400, 'bad_payload'],
    ['application/json', '{"type":"system","body":1}', 403, 'forbidden'],
    ['text/plain', 'x'.repeat(2001), 413, 'too_large'],
    ['application/json', '['.repeat(900) + ']'.repeat(900), 400, 'bad_payload']
  ] as const) t.match(await as('alice.p').send('u/bob.p', body, { 'content-type': type }), { status, body: { status, code, type: 'about:blank' } })
  t.match(await as('alice.p').send('u/bob.p', 'x', { 'content-encoding': 'gzip' }), { status: 400 })
  t.equal((await as('alice.p').send('u/bob.p', 'x'.repeat(2000))).status, 201, 'as large as may be')
})

await t.test('Idempotency-Key is the cid', async t => {
  const alice = as('alice.i')
  const send = (key: string, body: string, type = 'text/plain'): Promise<Answered> => alice.fetch('POST', '/v1/to/u/bob.i', body, { 'idempotency-key': key, 'content-type': type })
  const first = await send('k 1', 'one')
  t.match(first, { status: 201, body: { seq: 1, cid: 'k 1' } })
  for (let i = 0; i < 3; i++) t.match(await send('k 1', 'one'), { status: 200, body: first.body })
  const mqtt = await device(t, server.url, 'alice.i')
  await mqtt.publish('im/to/u/bob.i', { cid: 'k 1', body: 'one' })
  t.match(await alice.ask('messages.history', { conv: 'd:alice.i:bob.i' }), { body: { head: 1 } })
  t.match(await send('k2', '{"body":"two","cid":"k2"}', 'application/json'), { status: 201, body: { seq: 2, cid: 'k2' } })
  t.match(await send('k3', '{"body":"two","cid":"k2"}', 'application/json'), { status: 400, body: { code: 'bad_payload', detail: /^cid: / } })
  for (const key of ['x'.repeat(65), 'caf\u00e9']) t.match(await send(key, 'x'), { status: 400, body: { code: 'bad_payload' } }, key)
  const none = [await alice.send('u/bob.i', 'same'), await alice.send('u/bob.i', 'same')]
  t.match(none, [{ status: 201, body: { seq: 3, cid: none[0]?.body.id } }, { status: 201, body: { seq: 4 } }], 'without one each is a message')
  const together = await Promise.all(Array.from({ length: 4 }, () => send('k9', 'nine')))
  t.strictSame(together.map(({ status }) => status).sort(), [200, 200, 200, 201])
  t.equal(new Set(together.map(({ body }) => body.id)).size, 1)
})

await t.test('requests of one user at a time, and no more; another user is served', async t => {
  const credentials = Buffer.from('many:').toString('base64')
  const open = async (): Promise<{ answer: Promise<string>, finish: () => void }> => {
    const socket = connect(server.httpPort, '127.0.0.1')
    let text = ''
    socket.setEncoding('utf8').on('data', (some: string) => { text += some })
    const begun = once(socket, 'data')
    socket.write(`POST /v1/to/u/bob HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic ${credentials}\r\nExpect: 100-continue\r\nContent-Length: 1\r\nConnection: close\r\n\r\n`)
    await begun
    return { answer: once(socket, 'close').then(() => text), finish: () => { socket.write('x') } }
  }
  t.equal((await as('many').ask('unread')).status, 200)
  const slow = []
  for (let i = 0; i < 4; i++) slow.push(await open())
  const refused = await as('many').send('u/bob', 'x')
  t.match(refused, { status: 429, body: { code: 'rate_limited', retryAfterMs: 1000 } })
  t.equal(refused.headers.get('retry-after'), '1')
  t.equal((await as('other').send('u/bob', 'x')).status, 201)
  for (const { finish } of slow) finish()
  for (const { answer } of slow) t.match(await answer, /HTTP\/1\.1 201 /)
  t.equal((await as('many').send('u/bob', 'x')).status, 201)
})

await t.test('who goes away leaves nothing behind', async t => {
  for (let i = 0; i < 20; i++) {
    const gone = new AbortController()
    const asked = fetch(`http://127.0.0.1:${server.httpPort}/v1/to/u/bob`, { method: 'POST', body: 'x', signal: gone.signal, headers: { authorization: `Basic ${Buffer.from('leaver:').toString('base64')}` } })
    gone.abort()
    await asked.then(async answer => await answer.text(), () => undefined)
  }
  // The limit of one user is 4: all of them would be taken.
  const settled = async (): Promise<void> => { while ((await as('leaver').send('u/bob', 'still here')).status !== 201) await new Promise(resolve => { setImmediate(resolve) }) }
  await within(settled(), 10_000, 'room for the next request')
})

await t.test('a slowed sender waits for its answer; messages expire', async t => {
  const slow = await startServer(t, { data: `${t.testdir()}/slow`, config: { plugins: { 'rate-limit': { burst: 1, messagesPerSecond: 20, maxDelayMs: 200 } } } })
  const alice = new ApiClient(slow.httpPort, 'alice')
  const answers = await Promise.all(Array.from({ length: 10 }, (_, i) => alice.send('u/bob', String(i))))
  const sent = answers.filter(({ status }) => status === 201).length
  t.ok(sent >= 2 && sent <= 8, `${sent} were sent`)
  for (const { status, body, headers } of answers) {
    if (status === 201) continue
    t.match(body, { status: 429, code: 'rate_limited', retryAfterMs: Number })
    t.ok(Number(headers.get('retry-after')) >= 1)
  }
  t.match(await alice.fetch('POST', '/v1/to/u/carol?expirySeconds=x', 'x'), { status: 400 })
})

await t.test('expirySeconds', async t => {
  const mqtt = await device(t, server.url, 'carol', { version: 5 })
  await mqtt.subscribe('im/u/carol/inbox')
  t.equal((await as('alice').fetch('POST', '/v1/to/u/carol?expirySeconds=3600', 'x')).status, 201)
  t.match((await mqtt.next('im/u/carol/inbox')).packet.properties, { messageExpiryInterval: 3600 })
})

await t.test('a stop answers what is under way, and nobody else; nothing that was answered is lost', async t => {
  const stopping = await startServer(t, { data: `${t.testdir()}/stop` })
  const alice = new ApiClient(stopping.httpPort, 'alice')
  let stop: Promise<number> | undefined
  let sent = 0
  const sender = async (): Promise<string> => {
    for (;;) {
      let answered: Answered
      try {
        answered = await alice.send('u/bob', 'x')
      } catch (error) {
        // Refused, or reset: the server has gone.
        return (error as Error).name
      }
      if (answered.status !== 201) return String(answered.status)
      if (++sent === 50) stop = stopping.stop()
    }
  }
  const ends = await Promise.all([sender(), sender(), sender(), sender()])
  for (const end of ends) t.ok(['503', 'TypeError'].includes(end), end)
  await stop
  await stopping.restart()
  const { body } = await new ApiClient(stopping.httpPort, 'bob').ask('messages.history', { conv: 'd:alice:bob' })
  t.ok(Number(body.head) >= sent, `${String(body.head)} are stored, ${sent} were answered`)
})

await t.test('it can be switched off', async t => {
  const off = await startServer(t, { data: `${t.testdir()}/off`, config: { http: { api: false } } })
  t.match(await new ApiClient(off.httpPort, 'alice').ask('unread'), { status: 404 })
})
