/** `GET /v1/stream` within its bounds: bans, limits, comments, clients that do not read, and logins. */
import t, { type Test } from 'tap'
import { ApiClient } from '../support/api-client.ts'
import { operator } from '../support/operator.ts'
import { EventSource } from '../support/event-source.ts'
import { until, within } from '../support/mailbox.ts'
import { startServer } from '../support/server.ts'
import { storeChoice } from '../support/store-choice.ts'

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

await t.test('a ban ends it, and it does not come back', async t => {
  const eve = stream(t, 'eve')
  await eve.next('ready')
  await operator(server, 'PUT', '/v1/users/eve/ban')
  t.match(await eve.next('end'), { code: 'banned' })
  await within(eve.closed, 5000, 'the end')
  const again = stream(t, 'eve', eve.lastEventId)
  await again.closed
  t.equal(again.status, 403)
})

await t.test('limits of one user; ids that are none; other methods; the end of who goes away', async t => {
  const open = [stream(t, 'max'), stream(t, 'max'), stream(t, 'max')]
  for (const one of open) await one.next('ready')
  const refused = stream(t, 'max')
  await refused.closed
  t.match([refused.status, JSON.parse(refused.text)], [429, { code: 'rate_limited' }])
  open[0]?.cut()
  await until(async () => {
    const one = stream(t, 'max')
    return await one.next('ready').then(() => true, () => false)
  }, 10_000, 'room for another')
  for (const id of ['x', '1.zz.!', '1.abc.AAAA', `1.abc.${'A'.repeat(12_000)}`]) t.match(await as('u1').fetch('GET', `/v1/stream?after=${encodeURIComponent(id)}`), { status: 400, body: { code: 'bad_payload' } }, id.slice(0, 20))
  t.match(await as('u1').fetch('POST', '/v1/stream', ''), { status: 405 })
  t.match(await new ApiClient(server.httpPort, '', null).fetch('GET', '/v1/stream'), { status: 401 })
})

await t.test('comments keep a quiet stream open', async t => {
  const quiet = stream(t, 'quiet')
  await quiet.next('ready')
  await until(() => quiet.comments >= 3, 15_000, 'three of them')
})

const long = 50_000

// More than the kernel takes for a connection would take too long with a database in tests; e2e/stalled-reader reads a backlog there.
await t.test('one that never reads is bounded and harms nobody', { timeout: 240_000, skip: storeChoice !== 'level' }, async t => {
  const own = await startServer(t, { data: `${t.testdir()}/own`, config: { ...config, http: { ...http, stream: { stallTimeoutMs: 200_000 } } } })
  const alice = new ApiClient(own.httpPort, 'alice')
  const other = new EventSource(own.httpPort, { user: 'awake' })
  t.teardown(() => { other.cut() })
  await other.next('ready')
  /** Sends so many MB; `awake` hears of it. Resolves to the largest size of the server, in MB. */
  const offer = async (user: string, mb: number): Promise<number> => {
    let peak = 0
    for (let sent = 0; sent < mb; sent += 5) {
      for (let i = 0; i < 10; i++) await Promise.all(Array.from({ length: 10 }, () => alice.send(`u/${user}`, 'x'.repeat(long))))
      await alice.send('u/awake', `after ${sent}`)
      t.match(await other.next(), { body: `after ${sent}` })
      peak = Math.max(peak, own.rssBytes() / 1e6)
    }
    return peak
  }
  // What it takes to store so much, with nobody to whom it would be sent.
  const without = await offer('absent', 80)
  const deaf = new EventSource(own.httpPort, { user: 'sleepy', deaf: true })
  t.teardown(() => { deaf.cut() })
  await until(() => deaf.status === 200, 10_000, 'its answer')
  deaf.socket?.pause()
  const peak = await offer('sleepy', 200)
  t.comment(`RSS at most ${without.toFixed()} MB without it, ${peak.toFixed()} MB with it and 200 MB that it might have`)
  t.ok(peak - without < 120, 'the memory of the server is bounded')
})

await t.test('one that never reads is ended, and has lost nothing', { timeout: 120_000, skip: storeChoice !== 'level' }, async t => {
  const count = 400
  const other = stream(t, 'early')
  await other.next('ready')
  const start = other.lastEventId
  const deaf = stream(t, 'sleepy', undefined, { deaf: true })
  await until(() => deaf.status === 200, 10_000, 'its answer')
  deaf.socket?.pause()
  for (let i = 1; i <= count; i++) await as('alice').send('u/sleepy', `${i} ${'x'.repeat(long)}`)
  await until(() => server.logs().includes('a stream over HTTP was ended: its client takes nothing'), 20_000, 'its end')
  const back = stream(t, 'sleepy', start)
  for (let seq = 1; seq <= count; seq++) {
    const { seq: got } = await back.next()
    if (got !== seq) { t.fail(`expected ${seq}, got ${String(got)}`); break }
  }
  t.pass('it has lost nothing')
})

// It ends with the login that let it in, and goes on when that is renewed. (The path of the control socket has the name in it, and must be short.)
await t.test('logins', { timeout: 60_000 }, async t => {
  const own = await startServer(t, { data: `${t.testdir()}/own`, config: { auth: { mode: 'password', tokens: { accessSeconds: 10, graceSeconds: 0 } } } })
  const password = 'correct horse'
  await operator(own, 'PUT', '/v1/users/alice', { password })
  const alice = new ApiClient(own.httpPort, 'alice', password)
  const login = async (): Promise<{ id: string, accessToken: string, refreshToken: string }> => (await alice.ask('tokens.create', { password })).body as unknown as { id: string, accessToken: string, refreshToken: string }
  const by = (token: string): EventSource => {
    const one = new EventSource(own.httpPort, { user: '', authorization: `Bearer ${token}` })
    t.teardown(() => { one.cut() })
    return one
  }
  const [left, renewed, revoked] = [await login(), await login(), await login()]
  const streams = { left: by(left.accessToken), renewed: by(renewed.accessToken), revoked: by(revoked.accessToken), password: new EventSource(own.httpPort, { user: 'alice', password }) }
  t.teardown(() => { streams.password.cut() })
  for (const one of Object.values(streams)) await one.next('ready')
  await alice.ask('tokens.revoke', { id: revoked.id })
  t.match(await streams.revoked.next('end'), { code: 'unauthorized' }, 'at once')
  // Half of its life later, so that what is renewed outlives what is not by more than the second in which ends are looked for.
  await new Promise(resolve => setTimeout(resolve, 5000))
  await alice.ask('tokens.refresh', { refreshToken: renewed.refreshToken })
  t.match(await streams.left.next('end'), { code: 'unauthorized' }, 'when it is over')
  await alice.send('u/alice', 'note')
  t.match(await streams.renewed.next(), { body: 'note' })
  t.match(await streams.password.next(), { body: 'note' })
  await operator(own, 'PUT', '/v1/users/alice/password', { password: 'another horse' })
  t.match(await streams.password.next('end'), { code: 'unauthorized' })
  t.match(await streams.renewed.next('end'), { code: 'unauthorized' })
})
