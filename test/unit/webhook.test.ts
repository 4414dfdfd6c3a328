/** Sign-in by asking another account system: what it is asked, how long its answers count, and what happens without one. */
import { createHmac } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import t from 'tap'
import type { Test } from 'tap'
import { defaultConfig } from '../../broker/config/schema.ts'
import { Line } from '../../broker/engine/people/webhook/line.ts'
import type { WebhookOptions } from '../../broker/engine/people/webhook/open.ts'
import { bench, type Bench, type BenchOptions } from '../support/control-host.ts'
import { fileOf, outside } from '../support/jwt.ts'

const ms = 1_790_000_000_000
const secret = 'a secret of thirty-two bytes, or more'
const from = (user: string | undefined, password: string, address = '10.0.0.1') => ({ user, password: Buffer.from(password), address, clientId: 'phone', protocol: 'mqtt5' })

interface Asked { headers: IncomingMessage['headers'], body: string }
type Answer = (question: Record<string, unknown>, response: ServerResponse) => unknown

interface World extends Bench { asked: Asked[], answer: Answer, secretFile: string }

/** An account system that answers as `answer` says, and a server that asks it. */
async function world (t: Test, options: Partial<WebhookOptions> = {}, more: BenchOptions = {}): Promise<World> {
  const asked: Asked[] = []
  const { url } = await outside(t, (request, response) => {
    let body = ''
    request.setEncoding('utf8').on('data', (text: string) => { body += text }).on('end', () => {
      asked.push({ headers: request.headers, body })
      const said = made.answer(JSON.parse(body) as Record<string, unknown>, response)
      if (said !== undefined) response.end(JSON.stringify(said))
    })
  })
  const secretFile = fileOf(t, secret + '\n')
  const webhook = { ...defaultConfig().auth.webhook, url, secretFile, ...options }
  const made: World = { ...await bench(t, { mode: 'webhook', clock: { ms, steadyMs: 0 }, ...more, setup: { accounts: { webhook, ...more.setup?.accounts } } }), asked, secretFile, answer: ({ password }) => ({ allow: password === 'right' }) }
  return made
}

await t.test('what is asked, and what the answers mean', async t => {
  const made = await world(t, { cacheSeconds: 0, refusedCacheSeconds: 0 })
  const { control, asked, store } = made
  t.same(await control.authenticate(from('alice', 'right')), { user: 'alice' })
  const [{ headers, body }] = asked as [Asked]
  t.same(JSON.parse(body), { user: 'alice', password: 'right', clientId: 'phone', address: '10.0.0.1', protocol: 'mqtt5' })
  t.equal(headers['sabethes-timestamp'], String(ms / 1000))
  t.equal(headers['sabethes-signature'], 'v1=' + createHmac('sha256', secret).update(`${ms / 1000}.${body}`).digest('hex'))
  t.equal(headers['content-type'], 'application/json')
  t.same(await store.user('alice'), { uid: 'alice', createdAt: ms })
  await t.rejects(control.authenticate(from('alice', 'wrong')), { code: 'unauthorized' })

  made.answer = () => ({ allow: true, user: 'u17', expiresAt: ms + 5_000, more: 1 })
  t.same(await control.authenticate(from('alice@example.com', 'x')), { user: 'u17', until: ms + 5_000 }, 'an id of its own')
  t.same(await control.authenticate({ user: undefined, password: undefined, address: '::1' }), { user: 'u17', until: ms + 5_000 })
  t.match(JSON.parse(asked.at(-1)?.body ?? ''), { user: null, password: null, clientId: null, protocol: null })
  for (const status of [401, 403]) {
    made.answer = (_question, response) => { response.writeHead(status).end() }
    await t.rejects(control.authenticate(from('alice', `x${status}`)), { code: 'unauthorized' })
  }
  const before = asked.length
  await t.rejects(control.authenticate({ ...from('alice', ''), password: Buffer.from([0xff]) }), { code: 'unauthorized' })
  await t.rejects(control.authenticate(from('a'.repeat(321), 'x')), { code: 'unauthorized' })
  await t.rejects(control.authenticate(from('alice', 'x'.repeat(1025))), { code: 'unauthorized' })
  await t.rejects(control.authenticateStep({ method: 'SCRAM-SHA-256', data: Buffer.from('n,,'), address: '::1' }), { code: 'unauthorized' })
  t.equal(asked.length, before, 'nobody is asked about these')
  writeFileSync(made.secretFile, 'x'.repeat(32))
  made.clock.steadyMs = 1_000
  made.answer = () => ({ allow: true })
  await control.authenticate(from('alice', 'x'))
  t.equal(asked.at(-1)?.headers['sabethes-signature'], 'v1=' + createHmac('sha256', 'x'.repeat(32)).update(`${ms / 1000}.${asked.at(-1)?.body ?? ''}`).digest('hex'), 'another secret')
})

await t.test('answers count for a while, a yes not longer than it says', async t => {
  const made = await world(t, { cacheSeconds: 60, refusedCacheSeconds: 5 })
  const { control, asked, clock } = made
  const all = await Promise.all(Array.from({ length: 20 }, () => control.authenticate(from('alice', 'right'))))
  t.equal(all.length, 20)
  t.equal(asked.length, 1, 'equal ones at the same time are one question')
  clock.steadyMs = 59_999
  await control.authenticate(from('alice', 'right'))
  t.equal(asked.length, 1)
  for (const other of [from('alice', 'wrong'), from('bob', 'right'), from('alice', 'right', '10.0.0.2'), { ...from('alice', 'right'), clientId: 'tv' }]) await control.authenticate(other).catch((error: { code: string }) => t.equal(error.code, 'unauthorized'))
  t.equal(asked.length, 5, 'of another password, user, address or client id it says nothing')
  await t.rejects(control.authenticate(from('alice', 'wrong')), { code: 'unauthorized' })
  t.equal(asked.length, 5)
  clock.steadyMs = 65_000
  await t.rejects(control.authenticate(from('alice', 'wrong')), { code: 'unauthorized' })
  await control.authenticate(from('alice', 'right'))
  t.equal(asked.length, 7)
  made.answer = () => ({ allow: true, expiresAt: ms + 10 })
  await control.authenticate(from('carol', 'x'))
  clock.ms += 10
  await control.authenticate(from('carol', 'x'))
  t.equal(asked.length, 9)
})

await t.test('bans and removals hold, whatever it says', async t => {
  const { control } = await world(t)
  await control.authenticate(from('alice', 'right'))
  await control.accounts.users.ban('alice', true)
  await t.rejects(control.authenticate(from('alice', 'right')), { code: 'banned' })
  await control.accounts.users.remove('alice')
  await t.rejects(control.authenticate(from('alice', 'right')), { code: 'unauthorized' })
  const strict = await world(t, { createUsers: false }, { path: t.testdir() + '/other' })
  await t.rejects(strict.control.authenticate(from('bob', 'right')), { code: 'unauthorized' })
})

const broken: Array<[string, Answer]> = [
  ['a status', (_question, response) => { response.writeHead(500).end('{"allow":true}') }],
  ['a redirect', (_question, response) => { response.writeHead(302, { location: '/yes' }).end() }],
  ['no JSON', (_question, response) => { response.end('yes') }],
  ['something else', () => ({ allow: 'true' })],
  ['no user id', () => ({ allow: true, user: 'a/b' })],
  ['too much', () => ({ allow: true, more: 'x'.repeat(2000) })],
  ['a cut', (_question, response) => { response.destroy() }],
  ['nothing', () => undefined]
]

await t.test('what is no answer lets nobody in', async t => {
  const made = await world(t, { timeoutMs: 200, maxBytes: 1024 })
  for (const [name, answer] of broken) {
    made.answer = answer
    made.clock.steadyMs = (made.clock.steadyMs ?? 0) + 1_000
    await t.rejects(made.control.authenticate(from(`u${made.asked.length}`, 'right')), { code: 'unavailable' }, name)
  }
  t.equal(made.asked.length, broken.length, 'and no redirect was followed')
})

await t.test('when it is down, nobody waits for it but one in a second', async t => {
  const made = await world(t, { timeoutMs: 100 })
  const { control, clock, asked } = made
  await control.authenticate(from('alice', 'right'))
  made.answer = (_question, response) => { response.destroy() }
  for (let i = 0; i < 20; i++) await t.rejects(control.authenticate(from(`u${i}`, 'right')), { code: 'unavailable', retryAfterMs: 1_000 })
  t.equal(asked.length, 4)
  t.same(await control.authenticate(from('alice', 'right')), { user: 'alice' }, 'an answer counts as long as always')
  clock.steadyMs = 60_000
  await t.rejects(control.authenticate(from('alice', 'right')), { code: 'unavailable' })
  made.answer = () => ({ allow: true })
  clock.steadyMs = 61_000
  t.same(await control.authenticate(from('alice', 'right')), { user: 'alice' }, 'and it is asked again')
  t.same(await control.authenticate(from('bob', 'right')), { user: 'bob' })
})

await t.test('whenDown: cached lets in whom it let in before', async t => {
  const made = await world(t, { whenDown: 'cached', downSeconds: 600 })
  const { control, clock } = made
  await control.authenticate(from('alice', 'right'))
  await t.rejects(control.authenticate(from('alice', 'wrong')), { code: 'unauthorized' })
  made.answer = (_question, response) => { response.destroy() }
  clock.steadyMs = 599_000
  for (let i = 0; i < 5; i++) t.same(await control.authenticate(from('alice', 'right')), { user: 'alice' })
  await t.rejects(control.authenticate(from('alice', 'wrong')), { code: 'unavailable' })
  await t.rejects(control.authenticate(from('bob', 'right')), { code: 'unavailable' })
  clock.steadyMs = 600_000
  await t.rejects(control.authenticate(from('alice', 'right')), { code: 'unavailable' })
})

await t.test('who guesses is slowed before anybody is asked', async t => {
  const limits = { pair: { freeFailures: 2, firstDelayMs: 1_000, maxDelayMs: 4_000, forgetMs: 60_000, maxKeys: 100 } }
  const { control, asked } = await world(t, {}, { setup: { accounts: { limits } } })
  for (let i = 0; i < 3; i++) await t.rejects(control.authenticate(from('alice', `guess ${i}`)), { code: 'unauthorized' })
  await t.rejects(control.authenticate(from('alice', 'right')), { code: 'rate_limited' })
  t.equal(asked.length, 3)
  t.same(await control.authenticate(from('alice', 'right', '10.0.0.9')), { user: 'alice' }, 'from elsewhere it is let in')
})

await t.test('no more than a few at a time, in turns by address', async t => {
  const line = new Line(2, 3)
  const done: string[] = []
  const held: Array<() => void> = []
  const task = (name: string) => async (): Promise<void> => {
    await new Promise<void>(resolve => { held.push(resolve) })
    done.push(name)
  }
  const flood = ['f1', 'f2', 'f3', 'f4', 'f5'].map(name => line.run('flood', task(name)))
  const refused = t.rejects(flood[4] as Promise<void>, { code: 'unavailable' }, 'the newest of who has most gives way')
  const other = line.run('other', task('other'))
  await refused
  while (held.length > 0 || done.length < 5) {
    held.shift()?.()
    await new Promise(resolve => setImmediate(resolve))
  }
  await Promise.all([...flood.slice(0, 4), other])
  t.same(done, ['f1', 'f2', 'f3', 'other', 'f4'])
})
