import t from 'tap'
import { Backoff } from '../../broker/engine/people/backoff.ts'
import { PasswordHash } from '../../broker/engine/people/password-hash.ts'
import { network } from '../../broker/network.ts'
import { bench } from '../support/control-host.ts'

const secret = Buffer.from('correct horse')
const from = (user: string | undefined, password: Uint8Array | undefined, address = '10.0.0.1') => ({ user, password, address })

await t.test('dev mode lets any valid id in and keeps the banned out', async t => {
  const { control, outputs, store } = await bench(t)
  t.same(await control.authenticate(from('__proto__', undefined)), { user: '__proto__' })
  t.equal(await store.user('__proto__'), undefined, 'nothing is written for it')
  await t.rejects(control.authenticate(from('a/b', undefined)), { code: 'unauthorized' })
  await t.rejects(control.authenticate(from(undefined, undefined)), { code: 'unauthorized' })
  t.equal(control.userExists('anybody'), true)
  await control.accounts.users.ban('mallory', true)
  t.match(outputs, [{ kind: 'kick', user: 'mallory', code: 'banned' }])
  await t.rejects(control.authenticate(from('mallory', undefined)), { code: 'banned' })
  await control.accounts.users.ban('mallory', false)
  t.same(await control.authenticate(from('mallory', undefined)), { user: 'mallory' })
})

await t.test('password mode', async t => {
  const { control, outputs, store } = await bench(t, { mode: 'password' })
  const { users } = control.accounts
  await t.rejects(users.add('a b', 'x'), { code: 'bad_payload' })
  await t.rejects(users.add('alice', undefined), { code: 'bad_payload' })
  await t.rejects(users.add('alice', ''), { code: 'bad_payload' })
  t.equal(await control.userExists('alice'), false)
  await users.add('alice', secret.toString())
  t.equal(await control.userExists('alice'), true, 'the cached answer follows')
  t.equal(control.userExists('alice'), true, 'and is synchronous when warm')
  await t.rejects(users.add('alice', 'x'), { code: 'conflict' })
  t.match((await store.user('alice'))?.passwordHash, /^\$argon2id\$/)
  t.same(await control.authenticate(from('alice', secret)), { user: 'alice' })
  const wrong = await control.authenticate(from('alice', Buffer.from('wrong'))).catch((error: Error) => error)
  const unknown = await control.authenticate(from('nobody', secret)).catch((error: Error) => error)
  t.match(wrong, { code: 'unauthorized' })
  t.same([(unknown as Error).message, (unknown as { code?: string }).code], [(wrong as Error).message, 'unauthorized'], 'unknown users are answered alike')
  await t.rejects(control.authenticate(from('alice', undefined)), { code: 'unauthorized' })

  await users.passwd('alice', 'new')
  t.match(outputs.pop(), { kind: 'kick', user: 'alice' })
  await t.rejects(control.authenticate(from('alice', secret)), { code: 'unauthorized' })
  await users.ban('alice', true)
  t.match(outputs.pop(), { kind: 'kick', user: 'alice', code: 'banned' })
  await t.rejects(control.authenticate(from('alice', Buffer.from('wrong'))), { code: 'unauthorized' }, 'a ban is no news for strangers')
  await t.rejects(control.authenticate(from('alice', Buffer.from('new'))), { code: 'banned' })
  t.match(await users.list({ limit: 10 }), [{ uid: 'alice', banned: true, hasPassword: true }])
  t.notOk(JSON.stringify(await users.list({ limit: 10 })).includes('argon2'))
  await users.remove('alice')
  t.match(outputs.pop(), { kind: 'kick', user: 'alice', code: 'not_found' })
  t.equal(await control.userExists('alice'), false)
  await t.rejects(users.remove('alice'), { code: 'not_found' })
  await t.rejects(users.passwd('alice', 'x'), { code: 'not_found' })
  await t.rejects(users.ban('alice', true), { code: 'not_found' })
  await t.rejects(users.add('alice', 'another'), { code: 'conflict' }, 'who had the id again could read what stays')
  await t.rejects(control.authenticate(from('alice', Buffer.from('new'))), { code: 'unauthorized' })
  for (const uid of ['bob', 'carol']) await users.add(uid, 'x')
  t.same((await users.list({ limit: 1 })).map(one => one.uid), ['bob'], 'pages are as long as they should be')
  t.same((await users.list({ limit: 10 })).map(one => one.uid), ['bob', 'carol'])
})

await t.test('failed tries cost time, per account and address', async t => {
  const limits = { pair: { freeFailures: 2, firstDelayMs: 1_000, maxDelayMs: 4_000, forgetMs: 60_000, maxKeys: 100 } }
  const { control, clock } = await bench(t, { mode: 'password', setup: { accounts: { limits } } })
  await control.accounts.users.add('alice', secret.toString())
  const wrong = Buffer.from('wrong')
  for (const name of ['alice', 'nobody']) {
    for (let i = 0; i < 3; i++) await t.rejects(control.authenticate(from(name, wrong)), { code: 'unauthorized' })
    await t.rejects(control.authenticate(from(name, secret)), { code: 'rate_limited', retryAfterMs: 1_000 }, 'whether there is such an account or not')
  }
  t.same(await control.authenticate(from('alice', secret, '10.9.9.9')), { user: 'alice' }, 'from elsewhere it is let in')
  clock.ms += 1_000
  t.same(await control.authenticate(from('alice', secret)), { user: 'alice' })
})

await t.test('a clock that is set back prolongs no wait', async t => {
  const limits = { pair: { freeFailures: 0, firstDelayMs: 1_000, maxDelayMs: 4_000, forgetMs: 60_000, maxKeys: 100 } }
  const { control, clock } = await bench(t, { mode: 'password', clock: { ms: 1_790_000_000_000, steadyMs: 5 }, setup: { accounts: { limits } } })
  await control.accounts.users.add('alice', secret.toString())
  await t.rejects(control.authenticate(from('alice', Buffer.from('wrong'))), { code: 'unauthorized' })
  clock.ms -= 3_600_000
  await t.rejects(control.authenticate(from('alice', secret)), { code: 'rate_limited' })
  clock.steadyMs = 1_005
  t.same(await control.authenticate(from('alice', secret)), { user: 'alice' })
})

await t.test('tries that come at once do not slip past the back-off', async t => {
  const limits = { pair: { freeFailures: 0, firstDelayMs: 60_000, maxDelayMs: 60_000, forgetMs: 60_000, maxKeys: 100 } }
  const { control } = await bench(t, { mode: 'password', setup: { accounts: { hashConcurrency: 1, limits } } })
  await control.accounts.users.add('alice', secret.toString())
  const tries = await Promise.allSettled(Array.from({ length: 10 }, () => control.authenticate(from('alice', Buffer.from('wrong')))))
  const codes = tries.map(one => one.status === 'rejected' ? (one.reason as { code: string }).code : 'ok')
  t.equal(codes.filter(code => code === 'rate_limited').length, 9)
})

await t.test('too many hashes at once are refused', async t => {
  const passwords = new PasswordHash(1, 1)
  const results = await Promise.allSettled([passwords.hash('a'), passwords.hash('b'), passwords.hash('c')])
  t.same(results.map(one => one.status), ['fulfilled', 'fulfilled', 'rejected'])
  t.match(results[2], { reason: { code: 'unavailable' } })
  t.ok(await passwords.hash('d'), 'and the places are given back')
})

await t.test('back-off doubles, ends, is bounded and forgets', async t => {
  let now = 0
  const backoff = new Backoff({ freeFailures: 1, firstDelayMs: 100, maxDelayMs: 300, forgetMs: 1_000, maxKeys: 3 }, () => now)
  const waits = [1, 2, 3, 4, 5].map(() => { backoff.fail('k'); return backoff.waitMs('k') })
  t.same(waits, [0, 100, 200, 300, 300])
  for (const key of ['a', 'b', 'c', 'd']) backoff.fail(key)
  t.equal(backoff.size, 3)
  t.equal(backoff.waitMs('k'), 0, 'the oldest went')
  now = 2_000
  backoff.fail('e')
  t.equal(backoff.size, 1, 'what is past is forgotten')
})

await t.test('an IPv6 customer is one address', async t => {
  t.equal(network('::ffff:192.0.2.1'), '192.0.2.1')
  t.equal(network('192.0.2.1'), '192.0.2.1')
  t.equal(network('2001:db8:1:2:3:4:5:6'), network('2001:0db8:1:2::9'))
  t.not(network('2001:db8:1:2::9'), network('2001:db8:1:3::9'))
  t.equal(network('::1'), '0:0:0:0::/64')
})

await t.test('who was there before does not wait behind strangers for a hash, nor they for ever', async t => {
  const passwords = new PasswordHash(1, 64)
  const order: string[] = []
  const ask = async (address: string, known: boolean): Promise<void> => {
    await passwords.verify(undefined, secret, { stillWanted () {}, failed () { order.push(address) }, address, known })
  }
  await passwords.decoy()
  const all = [...Array.from({ length: 12 }, () => ask('flood', false)), ask('other', false), ...Array.from({ length: 4 }, () => ask('known', true))]
  await Promise.all(all)
  const places = (name: string): number[] => order.flatMap((one, at) => one === name ? [at] : [])
  t.ok((places('known').at(-1) as number) <= 6, `known ones come first: ${order.join(' ')}`)
  t.ok((places('other')[0] as number) <= 7, 'one of another address does not wait behind all of the flood')
  t.equal(places('flood').length, 12)
})
