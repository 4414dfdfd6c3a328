/** `GET /v1/stream`: what a session of MQTT gets, and nothing of it missed or repeated, however often the connection breaks. */
import t, { type Test } from 'tap'
import { ApiClient } from '../support/api-client.ts'
import { EventSource, type StreamEvent } from '../support/event-source.ts'
import { until } from '../support/mailbox.ts'
import { device } from '../support/mqtt.ts'
import { startServer } from '../support/server.ts'
import { sized } from '../support/store-choice.ts'

const http = { requestsPerSecond: 100_000, stream: { heartbeatMs: 1000, stallTimeoutMs: 1500, perUser: 3 } }
const config = { http, groups: { consent: 'everybody' }, plugins: { 'rate-limit': { burst: 100_000, messagesPerSecond: 100_000 } } }
const server = await startServer(t, { config })
const as = (user: string): ApiClient => new ApiClient(server.httpPort, user)
const listen = (user: string, lastEventId?: string, more: object = {}): EventSource => new EventSource(server.httpPort, { user, lastEventId, ...more })

/** Ends with the test. */
function stream (t: Test, user: string, lastEventId?: string, more: object = {}): EventSource {
  const one = listen(user, lastEventId, more)
  t.teardown(() => { one.cut() })
  return one
}

await t.test('an id at once; inbox, groups, events and notices; headers', async t => {
  const bob = stream(t, 'bob', undefined, { headers: { 'accept-encoding': 'gzip' } })
  t.strictSame(await bob.next('ready'), {})
  t.match(bob.lastEventId, /^[\w.-]+$/)
  t.ok((bob.retryMs ?? 0) >= 2000)
  t.match(bob.headers, { 'content-type': 'text/event-stream', 'cache-control': 'no-store', 'x-accel-buffering': 'no' })
  t.equal(bob.headers['content-encoding'], undefined, 'a packed stream would come late')
  const sent = await as('alice').send('u/bob', 'hello')
  t.match(await bob.next(), { ...sent.body, from: 'alice', to: 'u/bob', body: 'hello' })
  t.match(await as('bob').ask('groups.create', { gid: 'dev', members: ['alice'] }), { status: 200 })
  t.match(await bob.next(), { conv: 'g:dev', type: 'system' })
  t.match(await as('alice').send('g/dev', 'to all'), { status: 201 })
  t.match(await bob.next(), { conv: 'g:dev', from: 'alice', body: 'to all' })
  t.match(await as('bob').send('u/alice', 'mine'), { status: 201 })
  t.match(await bob.next(), { from: 'bob', to: 'u/alice', body: 'mine' }, 'a copy of what other devices send')
  const alice = await device(t, server.url, 'alice')
  await alice.subscribe('im/u/alice/inbox')
  t.ok(await bob.events.take(({ event, data }) => event === 'event' && (data as { kind: string, conv: string }).kind === 'delivered' && (data as { conv: string }).conv === 'd:alice:bob', 15_000, 'a receipt'))
  const pretty = await as('alice').fetch('POST', '/v1/to/u/bob', '{\n  "body": {\n "a": 1 }\r\n}', { 'content-type': 'application/json' })
  t.match(await bob.next(), { ...pretty.body, body: { a: 1 } }, 'line ends of JSON are none of the stream')
})

await t.test('from an id on: what came meanwhile, once; Last-Event-ID before the query', async t => {
  const first = stream(t, 'carol')
  await first.next('ready')
  const start = first.lastEventId
  await as('alice').send('u/carol', 'one')
  t.match(await first.next(), { seq: 1, body: 'one' })
  first.cut()
  await as('alice').send('u/carol', 'two')
  const second = stream(t, 'carol', first.lastEventId, { query: `?after=${start ?? ''}` })
  t.match(await second.next(), { seq: 2, body: 'two' })
  const again = stream(t, 'carol', undefined, { query: `?after=${start ?? ''}` })
  t.match([await again.next(), await again.next()], [{ body: 'one' }, { body: 'two' }], 'an id may be used again')
  t.match((await as('alice').ask('conversations.list')).body, { conversations: [{ conv: 'd:alice:carol', peerDeliveredSeq: 0 }] }, 'a stream acknowledges nothing')
})

await t.test('cut 50 times at random: nothing missed, nothing repeated, all in order', { timeout: 240_000 }, async t => {
  const count = sized({ level: 1170, mongodb: 396 })
  const senders = ['s1', 's2', 's3']
  await as('dave').ask('groups.create', { gid: 'many', members: senders })
  const had: StreamEvent[] = []
  let [cuts, lastEventId, left] = [0, undefined as string | undefined, 0]
  let current: EventSource | undefined
  const begun = new Promise<void>(resolve => {
    const connect = (): void => {
      const one = current = listen('dave', lastEventId)
      left = Math.floor(Math.random() * count / 30)
      one.onEvent = event => {
        lastEventId = one.lastEventId
        if (event.event === 'ready') return resolve()
        had.push(event)
        if (--left > 0 || cuts >= 50) return
        cuts++
        one.cut()
        // Before and behind what is under way.
        if (Math.random() < 0.5) connect()
        else setTimeout(connect, Math.random() * 50)
      }
    }
    connect()
  })
  await begun
  await Promise.all(senders.map(async (sender, i) => {
    for (let n = 0; n < count / senders.length; n++) await as(sender).send(n % 3 === 0 ? 'g/many' : 'u/dave', `${n}`)
    if (i === 0) await as('dave').ask('read', { conv: 'd:dave:s1', seq: 1 })
  }))
  await until(() => had.filter(({ data }) => typeof (data as { body?: unknown }).body === 'string').length >= count && cuts >= 50, 60_000, 'all that was sent, and 50 cuts')
    .catch((cause: Error) => { t.fail(`${cause.message}: ${had.length} came, ${cuts} cuts`) })
  current?.cut()
  const last = new Map<string, number>()
  let wrong = 0
  for (const { data } of had) {
    const { conv, seq, eseq } = data as { conv: string, seq: number, eseq?: number }
    const [log, number] = eseq === undefined ? [conv, seq] : ['events', eseq]
    const before = last.get(log) ?? (log === 'g:many' ? number - 1 : 0)
    if (eseq === undefined ? number !== before + 1 : number <= before) wrong++
    last.set(log, number)
  }
  t.equal(wrong, 0, 'each follows the one before it')
  t.match(Object.fromEntries(last), { 'd:dave:s1': (count / 3) * 2 / 3, 'd:dave:s2': (count / 3) * 2 / 3, 'd:dave:s3': (count / 3) * 2 / 3 })
  t.comment(`${had.length} events, ${cuts} cuts`)
})

await t.test('over a restart', async t => {
  const own = await startServer(t, { data: `${t.testdir()}/own`, config: { http } })
  const alice = new ApiClient(own.httpPort, 'alice')
  const first = new EventSource(own.httpPort, { user: 'bob' })
  await first.next('ready')
  for (let i = 1; i <= 3; i++) await alice.send('u/bob', String(i))
  for (let i = 1; i <= 3; i++) t.match(await first.next(), { seq: i })
  await alice.send('u/carol', 'for another')
  const ended = first.next('end')
  await own.stop()
  t.match(await ended, { code: 'unavailable' }, 'who listens is told')
  await first.closed
  await own.restart()
  await alice.send('u/bob', '4')
  const second = new EventSource(own.httpPort, { user: 'bob', lastEventId: first.lastEventId })
  t.teardown(() => { second.cut() })
  t.match(await second.next(), { seq: 4 })
  await own.kill9()
  await own.restart()
  await alice.send('u/bob', '5')
  const third = new EventSource(own.httpPort, { user: 'bob', lastEventId: second.lastEventId })
  t.teardown(() => { third.cut() })
  t.match(await third.next(), { seq: 5 })
})
