/** SCRAM-SHA-256 against the vector of RFC 7677, section 3; what its messages may be; what is kept of passwords; who is told what. */
import t from 'tap'
import type { Test } from 'tap'
import type { Passwords } from '../../broker/engine/people/password-hash.ts'
import { AccountRows } from '../../broker/engine/people/account-rows.ts'
import { decodeKeys, deriveKeys, encodeKeys, proves, serverSignature } from '../../broker/engine/people/scram-keys.ts'
import { readClientFinal, readClientFirst, serverFinal, serverFirst } from '../../broker/engine/people/scram-messages.ts'
import { ScramPasswords } from '../../broker/engine/people/scram-passwords.ts'
import { Refusal } from '../../broker/errors.ts'
import { restoreLevelBackup } from '../../broker/store/level/store.ts'
import type { UserRow } from '../../broker/store/store.ts'
import { bench, type Bench, type BenchOptions } from '../support/control-host.ts'
import { fieldsOf, method, ScramClient } from '../support/scram.ts'

const vector = {
  user: 'user',
  password: 'pencil',
  nonce: 'rOprNGfwEbeRWgbNEkqO',
  first: 'n,,n=user,r=rOprNGfwEbeRWgbNEkqO',
  serverFirst: 'r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096',
  final: 'c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=',
  serverFinal: 'v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4='
}

await t.test('the vector of RFC 7677', async t => {
  const salt = Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64')
  const keys = await deriveKeys(Buffer.from(vector.password), salt, 4096)
  const first = readClientFirst(Buffer.from(vector.first))
  t.strictSame(first, { header: 'n,,', user: 'user', nonce: vector.nonce, bare: 'n=user,r=rOprNGfwEbeRWgbNEkqO' })
  t.equal(serverFirst('rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0', salt, 4096), vector.serverFirst)
  const final = readClientFinal(Buffer.from(vector.final))
  t.equal(final.header, 'n,,')
  const authMessage = `${first.bare},${vector.serverFirst},${final.bare}`
  t.equal(proves(keys, authMessage, final.proof), true)
  t.equal(serverFinal(serverSignature(keys, authMessage)), vector.serverFinal)
  t.equal(proves(keys, authMessage + ',', final.proof), false)
  t.equal(proves(keys, authMessage, final.proof.subarray(1)), false)
  final.proof[0] = (final.proof[0] as number) ^ 1
  t.equal(proves(keys, authMessage, final.proof), false)
  t.strictSame(decodeKeys(encodeKeys(keys)), keys, 'what is kept is read as it was')
  t.match(encodeKeys(keys), /^SCRAM-SHA-256\$4096:W22ZaJ0SNY7soEsUEjb6gQ==\$[^:]+:[^:]+$/, 'in the form of RFC 5803')
  for (const text of ['', 'SCRAM-SHA-1$4096:YQ==$YQ==:YQ==', 'SCRAM-SHA-256$0:YQ==$YQ==:YQ==', 'SCRAM-SHA-256$4096:YQ==$YQ==:YQ==']) t.equal(decodeKeys(text), undefined, text)
})

await t.test('the client of the tests speaks the vector too', async t => {
  const client = new ScramClient(vector)
  t.equal(client.first.toString(), vector.first)
  t.equal(client.final(Buffer.from(vector.serverFirst)).toString(), vector.final)
  t.ok(client.trusts(Buffer.from(vector.serverFinal)))
  t.notOk(client.trusts(Buffer.from('v=AAAA')))
})

await t.test('messages that cannot be read', async t => {
  for (const [text, code] of [
    ['', 'bad_payload'], ['n,,', 'bad_payload'], ['n=user,r=abc', 'bad_payload'], ['n,,n=user', 'bad_payload'], ['n,,r=abc,n=user', 'bad_payload'], ['n,,n=user,r=', 'bad_payload'],
    ['n,,n=user,r=a\x7f', 'bad_payload'], ['n,,n=us er,r=abc', 'bad_payload'], ['n,,n=us=2Cer,r=abc', 'bad_payload'], ['n,,n=,r=abc', 'bad_payload'], ['n,,n=user,r=abc,', 'bad_payload'], ['n,,n=user,r=abc,x', 'bad_payload'],
    ['n,,m=x,n=user,r=abc', 'bad_payload'], ['n,,n=user,r=abc,m=x', 'bad_payload'], ['p=tls-unique,,n=user,r=abc', 'bad_payload'], ['z,,n=user,r=abc', 'bad_payload'], ['n,x=user,n=user,r=abc', 'bad_payload'],
    ['n,,n=user,r=abc\0', 'bad_payload'], [`n,,n=user,r=${'a'.repeat(1024)}`, 'bad_payload'], ['n,a=other,n=user,r=abc', 'forbidden']
  ] as const) t.throws(() => readClientFirst(Buffer.from(text)), { code }, JSON.stringify(text.slice(0, 40)))
  t.throws(() => readClientFirst(Buffer.from([...Buffer.from('n,,n=user,r='), 0xff])), { code: 'bad_payload' }, 'no UTF-8')
  for (const text of ['', 'c=biws', 'c=biws,r=abc', 'r=abc,c=biws,p=AAAA', 'c=biws,r=abc,p=*', 'c=biws,r=abc,p=AAA', 'c=*,r=abc,p=AAAA', 'c=biws,r=abc,m=x,p=AAAA', 'c=biws,r=abc,p=AAAA,x=y']) {
    t.throws(() => readClientFinal(Buffer.from(text)), { code: 'bad_payload' }, JSON.stringify(text))
  }
  t.match(readClientFirst(Buffer.from('y,a=user,n=user,r=abc,x=y')), { header: 'y,a=user,', user: 'user', nonce: 'abc', bare: 'n=user,r=abc,x=y' }, 'y is right where no channel binding is offered, and extensions are passed over')
  t.match(readClientFinal(Buffer.from('c=eSws,r=abc,x=y,p=')), { header: 'y,,', nonce: 'abc', bare: 'c=eSws,r=abc,x=y' })
})

const address = '10.0.0.1'
const withScram = async (t: Test, options: BenchOptions = {}): Promise<Bench> =>
  await bench(t, { mode: 'password', ...options, setup: { ...options.setup, accounts: { scramIterations: 4096, ...options.setup?.accounts } } })

/** One exchange; what the server said first, and whether it was trusted in the end. */
async function signIn ({ control }: Pick<Bench, 'control'>, user: string, password: string, from = address): Promise<{ first: Map<string, string>, user: string, trusted: boolean }> {
  const client = new ScramClient({ user, password })
  const challenge = await control.authenticateStep({ method, data: client.first, address: from })
  if (challenge.state === undefined) throw new Error('nothing was asked')
  const done = await control.authenticateStep({ method, data: client.final(challenge.data), address: from, state: challenge.state })
  return { first: fieldsOf(Buffer.from(challenge.data).toString()), user: done.user, trusted: client.trusts(done.data) }
}
const challengeOf = async ({ control }: Pick<Bench, 'control'>, user: string): Promise<Map<string, string>> => {
  const { data } = await control.authenticateStep({ method, data: new ScramClient({ user, password: '' }).first, address })
  return fieldsOf(Buffer.from(data).toString())
}

await t.test('who is let in, and what others can find out', async t => {
  const b = await withScram(t)
  const { users } = b.control.accounts
  await users.add('alice', 'correct horse')
  t.match((await b.store.user('alice'))?.scram, /^SCRAM-SHA-256\$4096:/)
  t.match(await signIn(b, 'alice', 'correct horse'), { user: 'alice', trusted: true })
  t.same(await b.control.authenticate({ user: 'alice', password: Buffer.from('correct horse'), address }), { user: 'alice' }, 'the password itself, too')
  const wrong = await signIn(b, 'alice', 'wrong').catch((error: Error) => error)
  const unknown = await signIn(b, 'nobody', 'wrong').catch((error: Error) => error)
  t.match(wrong, { code: 'unauthorized' })
  t.equal((unknown as Error).message, (wrong as Error).message)

  const [of, again, nobodys, others] = [await challengeOf(b, 'alice'), await challengeOf(b, 'alice'), await challengeOf(b, 'nobody'), await challengeOf(b, 'nobody2')]
  t.equal(of.get('s'), again.get('s'))
  t.not(of.get('r'), again.get('r'), 'no nonce comes twice')
  t.equal(nobodys.get('s'), (await challengeOf(b, 'nobody')).get('s'), 'stable for a name that there is not')
  t.not(nobodys.get('s'), others.get('s'), 'and another one for each')
  t.equal(nobodys.get('s')?.length, of.get('s')?.length)
  t.equal(nobodys.get('i'), of.get('i'))

  await users.add('nobody', 'late')
  t.equal((await challengeOf(b, 'nobody')).get('s'), nobodys.get('s'), 'who polls does not see an account come')
  await users.passwd('alice', 'new')
  t.equal((await challengeOf(b, 'alice')).get('s'), of.get('s'), 'nor its password change')
  await t.rejects(signIn(b, 'alice', 'correct horse'), { code: 'unauthorized' })
  t.match(await signIn(b, 'alice', 'new'), { trusted: true })
  await users.ban('alice', true)
  await t.rejects(signIn(b, 'alice', 'wrong'), { code: 'unauthorized' }, 'a ban is no news for strangers')
  await t.rejects(signIn(b, 'alice', 'new'), { code: 'banned' })
  await users.ban('alice', false)
  t.match(await signIn(b, 'alice', 'new'), { trusted: true }, 'a ban keeps the keys')
  await users.remove('alice')
  await t.rejects(signIn(b, 'alice', 'new'), { code: 'unauthorized' })
  t.equal((await challengeOf(b, 'alice')).get('s'), of.get('s'), 'nor an account go')

  const c = await b.restart()
  t.equal((await challengeOf(c, 'nobody')).get('s'), nobodys.get('s'), 'after a restart either')
  t.match(await signIn(c, 'nobody', 'late'), { trusted: true })
})

await t.test('the time of an answer does not tell who has an account', async t => {
  const beats: Array<() => void> = []
  const b = await withScram(t, { setup: { accounts: { beat: run => { beats.push(run); return undefined } } } })
  await b.control.accounts.users.add('alice', 'x')
  let found = (): void => {}
  const row = await b.store.user('alice')
  // Whoever there is takes longer to find.
  b.store.user = async uid => {
    if (uid !== 'alice') return undefined
    await new Promise<void>(resolve => { found = resolve })
    return row
  }
  const quiet = async (): Promise<void> => { for (let i = 0; i < 20; i++) await new Promise(resolve => { setImmediate(resolve) }) }
  const answers: string[] = []
  const ask = async (name: string, data = new ScramClient({ user: name, password: 'x' }).first): Promise<void> => {
    await b.control.authenticateStep({ method, data, address }).then(() => { answers.push(name) }, () => { answers.push(`not ${name}`) })
  }
  const asked = [ask('alice'), ask('nobody'), ask('nonsense', Buffer.from('n,,'))]
  await quiet()
  found()
  await quiet()
  t.strictSame(answers, [], 'not before the beat')
  for (const beat of beats.splice(0)) beat()
  await Promise.all(asked)
  t.strictSame(answers.sort(), ['alice', 'nobody', 'not nonsense'])

  const late = ask('alice')
  for (let beat = 0; beat < 3; beat++) {
    await quiet()
    for (const run of beats.splice(0)) run()
  }
  await quiet()
  found()
  await quiet()
  t.equal(answers.length, 3, 'what took more than a beat waits for the next one')
  for (const run of beats.splice(0)) run()
  await late
  const last = ask('nobody')
  await quiet()
  t.equal(answers.length, 4)
  await b.control.accounts.close()
  await last
  await ask('nobody')
  t.equal(beats.length, 1, 'nothing waits when the server ends')
})

await t.test('an exchange is one exchange', async t => {
  const b = await withScram(t)
  await b.control.accounts.users.add('alice', 'x')
  const client = new ScramClient({ user: 'alice', password: 'x' })
  const challenge = await b.control.authenticateStep({ method, data: client.first, address })
  const state = challenge.state as string
  const final = client.final(challenge.data)
  await t.rejects(b.control.authenticateStep({ method, data: Buffer.from(final.toString().replace(/r=[^,]*/, 'r=abc')), address, state }), { code: 'bad_payload' }, 'another nonce')
  await t.rejects(b.control.authenticateStep({ method, data: client.final(challenge.data, 'y,,'), address, state }), { code: 'bad_payload' }, 'another header than at first: somebody between has changed it')
  const later = await b.control.authenticateStep({ method, data: new ScramClient({ user: 'alice', password: 'x' }).first, address })
  await t.rejects(b.control.authenticateStep({ method, data: final, address, state: later.state as string }), { code: 'bad_payload' }, 'a proof of another exchange')
  t.match(await b.control.authenticateStep({ method, data: final, address, state }), { user: 'alice' })
})

await t.test('accounts whose password was set before have keys from their next sign-in with it on', async t => {
  const before = await bench(t, { mode: 'password' })
  await before.control.accounts.users.add('alice', 'x')
  t.equal((await before.store.user('alice'))?.scram, undefined)
  await t.rejects(before.control.authenticateStep({ method, data: new ScramClient({ user: 'alice', password: 'x' }).first, address }), { code: 'unauthorized' }, 'not offered')
  const hash = (await before.store.user('alice'))?.passwordHash as string

  const b = await withScram(t, { path: t.testdir() + '/later' })
  await b.store.putUser({ uid: 'alice', createdAt: 1, passwordHash: hash })
  const salt = (await challengeOf(b, 'alice')).get('s')
  await t.rejects(signIn(b, 'alice', 'x'), { code: 'unauthorized' }, 'as if there was none')
  await t.rejects(b.control.authenticate({ user: 'alice', password: Buffer.from('wrong'), address }), { code: 'unauthorized' })
  t.same(await b.control.authenticate({ user: 'alice', password: Buffer.from('x'), address }), { user: 'alice' })
  await b.control.accounts.close()
  t.match(await b.store.user('alice'), { passwordHash: hash, createdAt: 1, scram: String })
  t.match(await signIn(b, 'alice', 'x'), { trusted: true })
  t.equal((await challengeOf(b, 'alice')).get('s'), salt, 'which nobody sees')
})

await t.test('other iterations count from the next sign-in on; none remove the keys', async t => {
  const path = t.testdir() + '/store'
  const b = await withScram(t, { path })
  await b.control.accounts.users.add('alice', 'x')
  await b.store.close()
  const more = await withScram(t, { path, setup: { accounts: { scramIterations: 5000 } } })
  t.equal((await signIn(more, 'alice', 'x')).first.get('i'), '4096')
  await more.control.authenticate({ user: 'alice', password: Buffer.from('x'), address })
  await more.control.accounts.close()
  t.equal((await signIn(more, 'alice', 'x')).first.get('i'), '5000')
  await more.store.close()
  const none = await withScram(t, { path, setup: { accounts: { scramIterations: 0 } } })
  await none.control.authenticate({ user: 'alice', password: Buffer.from('x'), address })
  await none.control.accounts.close()
  t.match(await none.store.user('alice'), { passwordHash: String, scram: undefined })
})

await t.test('keys that were made of a password that is not the account\'s any more are not kept', async t => {
  const b = await withScram(t)
  const { users } = b.control.accounts
  await users.add('alice', 'old')
  const { scram: _, ...old } = await b.store.user('alice') as UserRow
  await users.passwd('alice', 'new')
  const now = await b.store.user('alice')
  let done: Promise<unknown> = Promise.resolve()
  const passwords: Pick<Passwords, 'work'> = {
    work (task) {
      const work = task()
      done = work
      return work
    }
  }
  const late = new ScramPasswords(b.host, new AccountRows(b.host), passwords, 4096)
  late.renew(old, Buffer.from('old'))
  await done
  t.same(await b.store.user('alice'), now)
  await users.remove('alice')
  late.renew(old, Buffer.from('old'))
  await done
  t.match(await b.store.user('alice'), { removedAt: Number, scram: undefined })
})

await t.test('two that start at once on a new store agree about the salts of names', async t => {
  const b = await withScram(t)
  const at: Pick<Passwords, 'work'> = { work: task => task() }
  // The store has nothing yet, and either has looked before the other one has written.
  const both = [0, 1].map(() => new ScramPasswords(b.host, new AccountRows(b.host), at, 4096))
  const [one, two] = await Promise.all(both.map(async some => (await some.keysOf('nobody', undefined)).keys.salt))
  t.same(one, two)
  const later = new ScramPasswords(b.host, new AccountRows(b.host), at, 4096)
  t.same((await later.keysOf('nobody', undefined)).keys.salt, one)
})

await t.test('keys that nobody waits for: what waits at the end is not begun, and what had no room comes later', async t => {
  const b = await withScram(t)
  await b.control.accounts.users.add('alice', 'x')
  const { scram, ...row } = await b.store.user('alice') as UserRow
  await b.store.putUser(row)
  const waiting: Array<() => Promise<void>> = []
  let refused = 0
  const passwords: Pick<Passwords, 'work'> = {
    async work (task) {
      if (refused++ === 0) throw new Refusal('unavailable')
      return await new Promise(resolve => { waiting.push(async () => { resolve(await task()) }) })
    }
  }
  const some = new ScramPasswords(b.host, new AccountRows(b.host), passwords, 4096)
  some.renew(row, Buffer.from('x'))
  await new Promise(resolve => { setImmediate(resolve) })
  t.equal(waiting.length, 0, 'no room')
  some.renew(row, Buffer.from('x'))
  some.renew(row, Buffer.from('x'))
  t.equal(waiting.length, 1, 'once for an account')
  await waiting[0]?.()
  t.same(await b.store.user('alice'), { ...row, scram })
  await b.store.putUser(row)
  await new Promise(resolve => { setImmediate(resolve) })
  some.renew(row, Buffer.from('x'))
  t.equal(waiting.length, 2)
  await some.close()
  await waiting[1]?.()
  t.same(await b.store.user('alice'), row)
})

await t.test('a backup has what SCRAM needs', async t => {
  const b = await withScram(t, { path: t.testdir() + '/store' })
  await b.control.accounts.users.add('alice', 'x')
  const salts = [(await challengeOf(b, 'alice')).get('s'), (await challengeOf(b, 'nobody')).get('s')]
  await b.store.backup(t.testdirName + '/backup', () => {})
  await restoreLevelBackup(t.testdirName + '/backup', t.testdirName + '/restored', () => {})
  const restored = await withScram(t, { path: t.testdirName + '/restored' })
  t.match(await signIn(restored, 'alice', 'x'), { trusted: true })
  t.strictSame([(await challengeOf(restored, 'alice')).get('s'), (await challengeOf(restored, 'nobody')).get('s')], salts)
})

await t.test('failed tries cost what they cost with a password', async t => {
  const limits = { pair: { freeFailures: 2, firstDelayMs: 1_000, maxDelayMs: 4_000, forgetMs: 60_000, maxKeys: 100 } }
  const b = await withScram(t, { setup: { accounts: { limits } } })
  await b.control.accounts.users.add('alice', 'x')
  for (const name of ['alice', 'nobody']) {
    for (let i = 0; i < 3; i++) await t.rejects(signIn(b, name, 'wrong'), { code: 'unauthorized' })
    await t.rejects(challengeOf(b, name), { code: 'rate_limited', retryAfterMs: 1_000 }, 'whether there is such an account or not')
    await t.rejects(b.control.authenticate({ user: name, password: Buffer.from('x'), address }), { code: 'rate_limited' }, 'in one count with passwords')
  }
  t.match(await signIn(b, 'alice', 'x', '10.9.9.9'), { trusted: true }, 'from elsewhere it is let in')
  b.clock.ms += 1_000
  t.match(await signIn(b, 'alice', 'x'), { trusted: true })
  for (let i = 0; i < 2; i++) await t.rejects(signIn(b, 'alice', 'wrong'), { code: 'unauthorized' })
  t.match(await signIn(b, 'alice', 'x'), { trusted: true }, 'the right one clears the count')
})

await t.test('tries that come at once do not slip past the back-off', async t => {
  const limits = { pair: { freeFailures: 0, firstDelayMs: 60_000, maxDelayMs: 60_000, forgetMs: 60_000, maxKeys: 100 } }
  const b = await withScram(t, { setup: { accounts: { limits } } })
  await b.control.accounts.users.add('alice', 'x')
  const begun = await Promise.all(Array.from({ length: 10 }, async () => {
    const client = new ScramClient({ user: 'alice', password: 'wrong' })
    const { data, state } = await b.control.authenticateStep({ method, data: client.first, address })
    return { data: client.final(data), state: state as string }
  }))
  const tries = await Promise.allSettled(begun.map(async ({ data, state }) => await b.control.authenticateStep({ method, data, address, state })))
  const codes = tries.map(one => one.status === 'rejected' ? (one.reason as { code: string }).code : 'ok')
  t.same([codes.filter(code => code === 'unauthorized').length, codes.filter(code => code === 'rate_limited').length], [1, 9])
})

await t.test('a change of the account during an exchange', async t => {
  for (const [change, code] of [['ban', 'banned'], ['remove', 'unauthorized'], ['passwd', 'unauthorized']] as const) {
    const b = await withScram(t, { path: `${t.testdir()}/${change}` })
    const { users } = b.control.accounts
    await users.add('alice', 'x')
    const client = new ScramClient({ user: 'alice', password: 'x' })
    const { data, state } = await b.control.authenticateStep({ method, data: client.first, address })
    const final = client.final(data)
    const { user } = b.store
    // Between the look at the row and the answer.
    let hurry: Promise<void> | undefined
    b.store.user = async uid => {
      const row = await user.call(b.store, uid)
      b.store.user = user
      hurry = change === 'ban' ? users.ban('alice', true) : change === 'remove' ? users.remove('alice') : users.passwd('alice', 'y')
      await hurry
      return row
    }
    await t.rejects(b.control.authenticateStep({ method, data: final, address, state: state as string }), { code }, change)
    await hurry
  }
})

await t.test('passwords that are not ASCII are prepared as clients prepare them', async t => {
  const b = await withScram(t)
  const { users } = b.control.accounts
  // RFC 4013, section 3: what is mapped to nothing, and compatibility forms.
  await users.add('soft', 'I\u00adX')
  t.match(await signIn(b, 'soft', 'IX'), { trusted: true })
  await users.add('roman', '\u2168')
  t.match(await signIn(b, 'roman', 'IX'), { trusted: true })
  await t.rejects(b.control.authenticate({ user: 'roman', password: Buffer.from('IX'), address }), { code: 'unauthorized' }, 'the password itself is compared byte for byte')
  await users.add('emoji', 'caf\u00e9 🦟')
  t.match(await signIn(b, 'emoji', 'cafe\u0301 🦟'), { trusted: true })
  await users.add('control', 'a\u0007b')
  t.match(await signIn(b, 'control', 'a\u0007b'), { trusted: true }, 'what must not be prepared is taken as it is')
})

await t.test('a store that does not keep the secret lets nobody in, and is asked again', async t => {
  const b = await withScram(t)
  await b.control.accounts.users.add('alice', 'x')
  const c = await b.restart()
  const { get } = c.store.records
  c.store.records.get = async () => { throw new Error('the disk is slow') }
  await t.rejects(signIn(c, 'alice', 'x'), { message: 'the disk is slow' })
  c.store.records.get = get
  t.match(await signIn(c, 'alice', 'x'), { trusted: true })
})

await t.test('dev mode has no passwords to prove', async t => {
  const { control } = await bench(t, { setup: { accounts: { scramIterations: 4096 } } })
  await t.rejects(control.authenticateStep({ method, data: new ScramClient({ user: 'alice', password: 'x' }).first, address }), { code: 'unauthorized' })
})
