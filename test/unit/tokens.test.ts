/** Login tokens: made with the password, renewed, ended; what a stolen one is worth. */
import t from 'tap'
import type { Test } from 'tap'
import { defaultTokens, type TokenOptions } from '../../broker/engine/people/tokens/tokens.ts'
import { bench, type Bench, type BenchOptions } from '../support/control-host.ts'

interface Made { id: string, accessToken: string, expiresAt: number, refreshToken: string, refreshExpiresAt: number, ended: string[] }
const password = 'correct horse'
const from = (token: string, user?: string) => ({ user, password: Buffer.from(token), address: '10.0.0.1' })
const over = { code: 'unauthorized', message: 'the token is not known, or counts no more' }

async function world (t: Test, tokens: Partial<TokenOptions> = {}, more: BenchOptions = {}): Promise<Bench & { login: (params?: object) => Promise<Made>, renew: (token: string, user?: string) => Promise<Made> }> {
  const b = await bench(t, { mode: 'password', setup: { accounts: { tokens: { ...defaultTokens, ...tokens } } }, ...more })
  await b.control.accounts.users.add('alice', password)
  return {
    ...b,
    login: async (params = {}) => await b.ask('alice', 'tokens.create', { password, ...params }) as Made,
    renew: async (refreshToken, user = 'alice') => await b.ask(user, 'tokens.refresh', { refreshToken }) as Made
  }
}

await t.test('a token is a password for a while', async t => {
  const { control, clock, login, ask, store } = await world(t)
  const made = await login({ name: 'my phone', platform: 'phone' })
  t.match(made, { expiresAt: clock.ms + 900_000, refreshExpiresAt: clock.ms + 2_592_000_000, ended: [] })
  t.same(await control.authenticate(from(made.accessToken, 'alice')), { user: 'alice', until: made.expiresAt, grant: made.id })
  t.match(await control.authenticate(from(made.accessToken)), { user: 'alice' }, 'it says itself whose it is')
  await t.rejects(control.authenticate(from(made.accessToken, 'bob')), over)
  await t.rejects(control.authenticate(from(made.accessToken.slice(0, -1) + (made.accessToken.endsWith('A') ? 'B' : 'A'))), over)
  t.same(await control.authenticate(from(made.refreshToken, 'alice')), { user: 'alice', until: clock.ms + 60_000, grant: made.id }, 'a refresh token is one for a moment, to renew the login')
  await t.rejects(control.authenticate({ ...from(made.refreshToken + 'x'), user: 'alice' }), { code: 'unauthorized' })
  await control.accounts.tokens.close()
  t.match(await ask('alice', 'tokens.list'), { logins: [{ id: made.id, name: 'my phone', platform: 'phone', createdAt: clock.ms, seenAt: clock.ms, address: '10.0.0.1', expiresAt: made.refreshExpiresAt }] })
  for await (const [key, value] of store.records.range('', '\x7f')) {
    for (const token of [made.accessToken, made.refreshToken]) t.notOk(Buffer.from(value).includes(token.split('~').sort((a, b) => b.length - a.length)[0] as string), `${key} holds no token`)
  }
  clock.ms += 900_000
  await t.rejects(control.authenticate(from(made.accessToken)), over, 'and no longer')
  t.match(await control.authenticate({ ...from(password), user: 'alice' }), { user: 'alice' })
})

await t.test('who may have one', async t => {
  const { login, ask } = await world(t)
  await t.rejects(login({ password: 'wrong' }), { code: 'unauthorized' }, 'whoever has an open connection, or a token, has not the password')
  for (const [params, what] of [[{ password: '' }, /password/], [{ password, platform: 'A B' }, /platform/], [{ password, name: '' }, /name/]] as const) await t.rejects(ask('alice', 'tokens.create', params), { code: 'bad_payload', message: what })
  const dev = await bench(t, { path: t.testdir() + '/dev' })
  await t.rejects(dev.ask('alice', 'tokens.create', { password }), { code: 'forbidden' })
  await t.rejects(dev.ask('alice', 'account.password', { password, newPassword: 'x' }), { code: 'forbidden' })
})

await t.test('guesses of who is signed in are slowed, and slow nobody else', async t => {
  const limits = { pair: { freeFailures: 2, firstDelayMs: 1_000, maxDelayMs: 4_000, forgetMs: 60_000, maxKeys: 100 } }
  const { control, login } = await world(t, {}, { setup: { accounts: { limits } } })
  for (let i = 0; i < 3; i++) await t.rejects(login({ password: 'wrong' }), { code: 'unauthorized' })
  await t.rejects(login(), { code: 'rate_limited' })
  t.match(await control.authenticate({ ...from(password), user: 'alice' }), { user: 'alice' })
})

await t.test('a login is renewed, and its old tokens count no more', async t => {
  const { control, clock, login, renew, outputs } = await world(t)
  const first = await login()
  clock.ms += 1_000
  const second = await renew(first.refreshToken)
  t.match(second, { id: first.id, expiresAt: clock.ms + 900_000, refreshExpiresAt: clock.ms + 2_592_000_000 })
  t.same(outputs.at(-1), { kind: 'extended', user: 'alice', grant: first.id, until: second.expiresAt }, 'its connections go on')
  await t.rejects(control.authenticate(from(first.accessToken)), over)
  t.match(await control.authenticate(from(second.accessToken)), { user: 'alice' })
  await t.rejects(renew(second.refreshToken, 'bob'), over, 'not by others')
  await t.rejects(renew(second.refreshToken.slice(0, -1) + (second.refreshToken.endsWith('A') ? 'Q' : 'A')), over)
  await t.rejects(renew(second.accessToken), over)
  const third = await control.rules.tokens.refresh('', second.refreshToken)
  clock.ms += 2_592_000_000
  await t.rejects(renew(third.refreshToken), over, 'it does not last for ever')
})

await t.test('a stolen refresh token ends its login, and no other one', async t => {
  const { control, clock, login, renew, outputs } = await world(t)
  const [first, other] = [await login(), await login()]
  const second = await renew(first.refreshToken)
  clock.ms += 9_999
  const again = await renew(first.refreshToken)
  t.match(again, { id: first.id }, 'an answer may be lost')
  await t.rejects(control.authenticate(from(second.accessToken)), over)
  clock.ms += 10_000
  const last = await renew(again.refreshToken)
  await t.rejects(control.authenticate(from(first.refreshToken)), over, 'the thief')
  t.match(outputs.slice(-2), [{ kind: 'notice', user: 'alice' }, { kind: 'kick', user: 'alice', grant: first.id, code: 'unauthorized' }], 'its connections end')
  await t.rejects(renew(last.refreshToken), over, 'its owner signs in anew')
  await t.rejects(control.authenticate(from(last.accessToken)), over)
  t.match(await control.authenticate(from(other.accessToken)), { user: 'alice' })
  t.match(await renew(other.refreshToken), { id: other.id })
})

await t.test('of two who renew at once one is first', async t => {
  const { login, renew } = await world(t, { graceMs: 0 })
  const { refreshToken } = await login()
  const both = await Promise.allSettled([renew(refreshToken), renew(refreshToken)])
  t.same(both.map(one => one.status).sort(), ['fulfilled', 'rejected'])
})

await t.test('bans, new passwords and removals', async t => {
  const { control, ask, login, renew, store } = await world(t)
  const { users } = control.accounts
  const made = await login()
  await users.ban('alice', true)
  await t.rejects(control.authenticate(from(made.accessToken)), { code: 'banned' })
  await t.rejects(renew(made.refreshToken), { code: 'banned' })
  await users.ban('alice', false)
  t.match(await control.authenticate(from(made.accessToken)), { user: 'alice' })
  await users.passwd('alice', password)
  await t.rejects(control.authenticate(from(made.accessToken)), over, 'another password, even if it is the same one')
  await t.rejects(renew(made.refreshToken), over)
  t.same(await ask('alice', 'tokens.list'), { logins: [] })
  const last = await login()
  await users.remove('alice')
  await t.rejects(control.authenticate(from(last.accessToken)), over)
  for await (const [key] of store.records.range('tokens/', 'tokens0')) t.fail(`${key} is left`)
})

await t.test('an end while a token is looked at', async t => {
  const { control, login, ask, store } = await world(t)
  const made = await login()
  const look = store.records.get.bind(store.records)
  store.records.get = async key => {
    store.records.get = look
    const row = await look(key)
    await ask('alice', 'tokens.revoke', { id: made.id })
    return row
  }
  await t.rejects(control.authenticate(from(made.accessToken)), over)
})

await t.test('one login is ended, or all but one', async t => {
  const { control, ask, login, outputs } = await world(t)
  const [one, two, three] = [await login({ name: 'one' }), await login(), await login()]
  t.same(await ask('alice', 'tokens.revoke', { id: one.id }), { ended: [one.id] })
  t.match(outputs.slice(-2), [{ kind: 'notice' }, { kind: 'kick', user: 'alice', grant: one.id }])
  await t.rejects(control.authenticate(from(one.accessToken)), over)
  await t.rejects(ask('alice', 'tokens.revoke', { id: one.id }), { code: 'not_found' })
  await t.rejects(ask('bob', 'tokens.revoke', { id: two.id }), { code: 'not_found' }, "another user's")
  await t.rejects(ask('alice', 'tokens.revoke', {}), { code: 'bad_payload' })
  t.same(await ask('alice', 'tokens.revoke', { all: true, except: three.id }), { ended: [two.id] })
  t.match(await control.authenticate(from(three.accessToken)), { user: 'alice' })
})

await t.test('one phone, two desktops, so many in all', async t => {
  const { login, clock, outputs, ask } = await world(t, { platforms: new Map([['phone', 1], ['desktop', 2]]), maxPerUser: 4 })
  const make = async (platform?: string): Promise<Made> => {
    clock.ms += 1_000
    return await login({ platform })
  }
  const phone = await make('phone')
  const desktops = [await make('desktop'), await make('desktop')]
  const second = await make('phone')
  t.same(second.ended, [phone.id])
  const [notice, kick] = outputs.slice(-2) as [{ payload: Uint8Array }, object]
  t.same(JSON.parse(Buffer.from(notice.payload).toString()), { kind: 'signedOut', login: phone.id, reason: 'another login (phone) has taken its place' })
  t.match(kick, { kind: 'kick', grant: phone.id })
  t.same((await make('desktop')).ended, [desktops[0]?.id])
  t.same((await make('tv')).ended, [])
  t.same((await make()).ended, [desktops[1]?.id], 'the oldest of all')
  t.equal((await ask('alice', 'tokens.list') as { logins: unknown[] }).logins.length, 4)
})

await t.test('a user gives themself another password', async t => {
  const { control, ask, login, outputs } = await world(t)
  const [kept, other] = [await login(), await login()]
  await t.rejects(ask('alice', 'account.password', { password: 'wrong', newPassword: 'battery staple' }), { code: 'unauthorized' })
  await t.rejects(ask('alice', 'account.password', { password, newPassword: 'x', keep: 'nothing' }), { code: 'not_found' })
  t.same(await ask('alice', 'account.password', { password, newPassword: 'battery staple', keep: kept.id }), { user: 'alice' })
  t.same(outputs.at(-1), { kind: 'kick', user: 'alice', code: 'unauthorized', spare: kept.id })
  t.match(await control.authenticate(from(kept.accessToken)), { user: 'alice' })
  await t.rejects(control.authenticate(from(other.accessToken)), over)
  await t.rejects(control.authenticate({ ...from(password), user: 'alice' }), { code: 'unauthorized' })
  t.match(await control.authenticate({ ...from('battery staple'), user: 'alice' }), { user: 'alice' })
  await ask('alice', 'account.password', { password: 'battery staple', newPassword: password })
  await t.rejects(control.authenticate(from(kept.accessToken)), over, 'without keep all end')
})

await t.test('all of it outlives the server', async t => {
  const { control, restart, login, renew } = await world(t)
  const made = await login()
  const again = await renew(made.refreshToken)
  const next = await restart(true)
  t.match(await next.control.authenticate(from(again.accessToken)), { user: 'alice' })
  t.match(await next.ask('alice', 'tokens.refresh', { refreshToken: again.refreshToken }), { id: made.id })
  t.ok(control)
})

await t.test('strangers who bring invented tokens keep nobody out', async t => {
  const { control, login } = await world(t)
  const { accessToken } = await login()
  const invented = accessToken.slice(0, -6) + 'AAAAAA'
  await Promise.all(Array.from({ length: 1_000 }, () => t.rejects(control.authenticate(from(invented)), over)))
  t.match(await control.authenticate(from(accessToken)), { user: 'alice' }, 'also from their address')
  t.match(await control.authenticate({ ...from(password), user: 'alice' }), { user: 'alice' })
})
