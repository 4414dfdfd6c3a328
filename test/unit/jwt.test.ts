/** Tokens of another account system: what is taken, with which keys, and what becomes of the account. */
import { createSecretKey, randomBytes } from 'node:crypto'
import { rmSync, writeFileSync } from 'node:fs'
import { SignJWT, UnsecuredJWT } from 'jose'
import { pino } from 'pino'
import t from 'tap'
import type { Test } from 'tap'
import { defaultConfig } from '../../broker/config/schema.ts'
import { openTokens, type JwtOptions } from '../../broker/engine/people/jwt/open.ts'
import { bench, type Bench, type BenchOptions } from '../support/control-host.ts'
import { fileOf, outside, sign, signer } from '../support/jwt.ts'

const ms = 1_790_000_000_000
const now = ms / 1000
const defaults: JwtOptions = defaultConfig().auth.jwt
const from = (token: string, user?: string) => ({ user, password: Buffer.from(token), address: '10.0.0.1' })

async function jwtBench (t: Test, options: Partial<JwtOptions>, more: BenchOptions = {}): Promise<Bench> {
  return await bench(t, { mode: 'jwt', setup: { accounts: { jwt: { ...defaults, ...options } } }, ...more })
}

const key = signer('k1')
const claims = { sub: 'alice', exp: now + 60 }

await t.test('whose the token is, and until when', async t => {
  const keyFile = fileOf(t, JSON.stringify({ keys: [key.jwk] }))
  const { control, store } = await jwtBench(t, { keyFile, clockToleranceSeconds: 5 })
  t.equal(await control.userExists('alice'), false)
  const token = await sign(key, claims)
  t.same(await control.authenticate(from(token)), { user: 'alice', until: ms + 65_000 })
  t.same(await store.user('alice'), { uid: 'alice', createdAt: ms }, 'the account is there from the first time on')
  t.equal(await control.userExists('alice'), true)
  t.match(await control.authenticate(from(token, 'alice')), { user: 'alice' })
  t.match(await control.authenticate(from(token, '')), { user: 'alice' })
  await t.rejects(control.authenticate(from(token, 'bob')), { code: 'unauthorized', message: 'the token is of another user' })
  t.match(await control.authenticateStep({ method: 'JWT', data: Buffer.from(token), address: '::1' }), { user: 'alice', until: ms + 65_000, data: new Uint8Array() })
  await t.rejects(control.authenticateStep({ method: 'SCRAM-SHA-256', data: Buffer.from(token), address: '::1' }), { code: 'unauthorized' })
  t.equal((await store.user('alice'))?.createdAt, ms)
})

await t.test('what is not taken', async t => {
  const keyFile = fileOf(t, JSON.stringify({ keys: [key.jwk] }))
  const { control, store } = await jwtBench(t, { keyFile, issuer: 'https://id.example', audience: ['chat', 'talk'], clockToleranceSeconds: 5 })
  const good = { ...claims, iss: 'https://id.example', aud: 'talk' }
  const stranger = signer('k1')
  const cases: Array<[string, string, RegExp]> = [
    ['expired', await sign(key, { ...good, exp: now - 6 }), /expired/],
    ['not yet', await sign(key, { ...good, nbf: now + 6 }), /nbf/],
    ['without an end', await sign(key, { sub: 'alice', iss: good.iss, aud: 'chat' }), /exp/],
    ['another issuer', await sign(key, { ...good, iss: 'https://evil.example' }), /iss/],
    ['another audience', await sign(key, { ...good, aud: 'mail' }), /aud/],
    ['no audience', await sign(key, { ...claims, iss: good.iss }), /aud/],
    ['no user', await sign(key, { exp: good.exp, iss: good.iss, aud: 'chat' }), /sub/],
    ['no user name', await sign(key, { ...good, sub: 'a/b' }), /sub/],
    ['another key of the same name', await sign(stranger, good), /signature/],
    ['a key that is not known', await sign({ ...stranger, kid: 'k9' }, good), /key/],
    ['no signature', new UnsecuredJWT({ ...good }).encode(), /token|kind/],
    ['the public key as the secret', await new SignJWT(good).setProtectedHeader({ alg: 'HS256', kid: 'k1' }).sign(createSecretKey(Buffer.from(key.pem))), /kind/],
    ['no token', 'aaaa.bbbb.cccc', /token/],
    ['text', 'correct horse', /token/],
    ['nothing', '', /token/],
    ['much', 'x'.repeat(8193), /8192/]
  ]
  for (const [name, token, message] of cases) await t.rejects(control.authenticate(from(token)), { code: 'unauthorized', message }, name)
  const [head = '', , tail = ''] = (await sign(key, good)).split('.')
  await t.rejects(control.authenticate(from(`${head}.${Buffer.from(JSON.stringify({ ...good, sub: 'bob' })).toString('base64url')}.${tail}`)), { code: 'unauthorized', message: /signature/ })
  t.same(await store.users({ limit: 10 }), [], 'and nothing is left of them')
  for (const aud of ['chat', ['mail', 'talk']]) t.match(await control.authenticate(from(await sign(key, { ...good, aud, exp: now - 4, nbf: now + 4 }))), { user: 'alice' }, 'within the tolerance')
})

await t.test('bans and removals hold', async t => {
  const keyFile = fileOf(t, key.pem)
  const { control, outputs, store } = await jwtBench(t, { keyFile })
  const { users } = control.accounts
  const sent = from(await sign(key, claims))
  await users.ban('alice', true)
  await t.rejects(control.authenticate(sent), { code: 'banned' }, 'also before they ever came')
  t.equal(await control.admits('alice'), false)
  await users.ban('alice', false)
  t.match(await control.authenticate(sent), { user: 'alice' })
  const look = store.user.bind(store)
  store.user = async uid => {
    store.user = look
    const row = await look(uid)
    await users.ban('alice', true)
    return row
  }
  await t.rejects(control.authenticate(sent), { code: 'banned' }, 'a ban while the account is looked at')
  t.match(outputs.at(-1), { kind: 'kick', user: 'alice', code: 'banned' })
  await users.remove('alice')
  await t.rejects(control.authenticate(sent), { code: 'unauthorized', message: /removed/ }, 'and do not come back by themselves')
})

await t.test('without createUsers only those come in who were added', async t => {
  const keyFile = fileOf(t, key.pem)
  const { control, store } = await jwtBench(t, { keyFile, createUsers: false })
  await t.rejects(control.authenticate(from(await sign(key, claims))), { code: 'unauthorized' })
  t.equal(await store.user('alice'), undefined)
  await control.accounts.users.add('alice', undefined)
  t.match(await control.authenticate(from(await sign(key, claims))), { user: 'alice' })
})

await t.test('a secret that both sides have, and another claim', async t => {
  const secret = randomBytes(32).toString('hex')
  const path = fileOf(t, secret + '\n')
  const { control } = await jwtBench(t, { secretFile: path, userClaim: 'name' })
  const make = (alg: string, text = secret): Promise<string> => new SignJWT({ name: 'bob', sub: '17', exp: now + 9 }).setProtectedHeader({ alg }).sign(Buffer.from(text))
  t.match(await control.authenticate(from(await make('HS256'))), { user: 'bob' })
  await t.rejects(control.authenticate(from(await make('HS256', secret + '\n'))), { code: 'unauthorized', message: /signature/ })
  await t.rejects(control.authenticate(from(await make('HS512'))), { code: 'unauthorized', message: /kind/ })
  await t.rejects(control.authenticate(from(await sign(key, claims))), { code: 'unauthorized', message: /kind/ })
})

await t.test('several keys in a file, and another file', async t => {
  const path = fileOf(t)
  const [rsa, ed] = [signer('r', 'RS256'), signer('e', 'EdDSA')]
  writeFileSync(path, `a comment\n${rsa.pem}${ed.pem}${key.pem}${signer('other').pem}`)
  const clock = { ms, steadyMs: 0 }
  const { control } = await jwtBench(t, { keyFile: path }, { clock })
  for (const one of [rsa, ed, key]) t.match(await control.authenticate(from(await sign(one, claims))), { user: 'alice' }, one.alg)
  const next = signer('k2')
  const token = from(await sign(next, claims))
  await t.rejects(control.authenticate(token), { code: 'unauthorized' })
  writeFileSync(path, JSON.stringify({ keys: [next.jwk] }))
  clock.steadyMs += 1_000
  t.match(await control.authenticate(token), { user: 'alice' }, 'it is read again')
  await t.rejects(control.authenticate(from(await sign(key, claims))), { code: 'unauthorized' }, 'what is no more in it counts no more')
  writeFileSync(path, '{"keys":')
  clock.steadyMs += 1_000
  t.match(await control.authenticate(token), { user: 'alice' }, 'a file that is wrong changes nothing')
  rmSync(path)
  clock.steadyMs += 1_000
  t.match(await control.authenticate(token), { user: 'alice' }, 'nor one that is gone')
})

await t.test('keys that are none stop the start', async t => {
  const cases: Array<[string, RegExp]> = [
    ['nothing of it', /neither/], ['{"keys":3}', /JWKS/], ['{"keys":[{"kty":"oct","k":"AAAA"}]}', /no key/],
    [key.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string, /private/]
  ]
  const open = (options: Partial<JwtOptions>): Promise<unknown> => openTokens({ ...defaults, ...options }, { now: () => ms, steady: () => 0 }, pino({ level: 'silent' }))
  for (const [text, message] of cases) await t.rejects(open({ keyFile: fileOf(t, text) }), { message })
  await t.rejects(open({ keyFile: fileOf(t) }), { message: /ENOENT/ })
  await t.rejects(open({ secretFile: fileOf(t, 'short') }), { message: /32 bytes/ })
})

await t.test('keys from an address', async t => {
  let keys: unknown[] = [key.jwk]
  let answer: 'keys' | 'redirect' | 'large' | 'wrong' = 'keys'
  let asked = 0
  const { url } = await outside(t, (request, response) => {
    if (request.url === '/elsewhere') return t.fail('a redirect was followed')
    asked++
    if (answer === 'redirect') return response.writeHead(302, { location: '/elsewhere' }).end()
    response.end(answer === 'large' ? Buffer.alloc(2000, 0x20) : answer === 'wrong' ? 'no' : JSON.stringify({ keys }))
  })
  const clock = { ms, steadyMs: 0 }
  const options = { keysUrl: url, keysCacheSeconds: 100, keysStaleSeconds: 1000, keysRetrySeconds: 10, maxBytes: 1024 }
  const { control } = await jwtBench(t, options, { clock })
  const old = from(await sign(key, claims))
  await Promise.all(Array.from({ length: 20 }, () => control.authenticate(old)))
  t.equal(asked, 1, 'fetched once, at the start')

  const next = signer('k2')
  const fresh = from(await sign(next, claims))
  keys = [next.jwk]
  await t.rejects(control.authenticate(fresh), { code: 'unauthorized' })
  t.equal(asked, 1, 'not so soon after the last time')
  clock.steadyMs += 10_000
  const all = await Promise.all(Array.from({ length: 20 }, () => control.authenticate(fresh)))
  t.equal(all.length, 20, 'a key that is not known has them fetched')
  t.equal(asked, 2, 'once for all who ask')
  const invented = from(await sign({ ...next, kid: 'k3' }, claims))
  await Promise.all(Array.from({ length: 20 }, () => t.rejects(control.authenticate(invented), { code: 'unauthorized' })))
  t.equal(asked, 2, 'and not for every name that a stranger invents')

  for (const wrong of ['redirect', 'large', 'wrong'] as const) {
    answer = wrong
    clock.steadyMs += 101_000
    const before = asked
    t.match(await control.authenticate(fresh), { user: 'alice' }, `${wrong}: the keys that there are go on`)
    await t.rejects(control.authenticate(invented), { code: 'unauthorized' })
    t.equal(asked, before + 1, wrong)
  }
  clock.steadyMs += 1_000_000
  await t.rejects(control.authenticate(fresh), { code: 'unavailable' }, 'but not for ever')
  answer = 'keys'
  clock.steadyMs += 10_000
  t.match(await control.authenticate(fresh), { user: 'alice' })
})

await t.test('a signer that is away, or does not answer, does not keep the server from starting', async t => {
  const { server, url } = await outside(t, () => { /* nothing is answered */ })
  const clock = { ms, steadyMs: 0 }
  const { control } = await jwtBench(t, { keysUrl: url, timeoutMs: 100, keysRetrySeconds: 1 }, { clock })
  await t.rejects(control.authenticate(from(await sign(key, claims))), { code: 'unavailable', retryAfterMs: 1_000 })
  server.removeAllListeners('request').on('request', (_request, response) => response.end(JSON.stringify({ keys: [key.jwk] })))
  clock.steadyMs += 1_000
  t.match(await control.authenticate(from(await sign(key, claims))), { user: 'alice' })
})

await t.test('strangers who bring forged tokens keep nobody out', async t => {
  const { control } = await jwtBench(t, { keyFile: fileOf(t, key.pem) })
  const forged = from(await sign(signer('k1'), claims))
  await Promise.all(Array.from({ length: 1_000 }, () => t.rejects(control.authenticate(forged), { code: 'unauthorized' })))
  t.match(await control.authenticate(from(await sign(key, claims))), { user: 'alice' }, 'also from their address')
})
