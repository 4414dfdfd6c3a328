/** Sign-ins that are remembered: for how long, for whom, and what ends them. */
import t from 'tap'
import { readCredentials, type Credentials } from '../../broker/http/api/credentials.ts'
import { SignIns } from '../../broker/http/api/sign-ins.ts'
import type { Answer, Engine, SignedIn } from '../../broker/link/port.ts'

type Asked = Parameters<Engine['authenticate']>[0]
interface World { signIns: SignIns, asked: Asked[], clock: { ms: number }, answer: (asked: Asked) => Answer<SignedIn> | Promise<Answer<SignedIn>> }

const right = (user: string): Answer<{ user: string }> => ({ ok: true, value: { user } })
const wrong: Answer<{ user: string }> = { ok: false, code: 'unauthorized', reason: 'wrong' }
const basic = (user: string, password: string): Credentials => ({ user, secret: Buffer.from(password) })
const token = (text: string): Credentials => ({ user: undefined, secret: Buffer.from(text) })

function world (most = 100): World {
  const asked: Asked[] = []
  const clock = { ms: 0 }
  const world: World = {
    asked,
    clock,
    answer: ({ user = 'alice', password }) => Buffer.from(password ?? []).toString() === 'right' ? right(user) : wrong,
    signIns: new SignIns({ authenticate: async one => { asked.push(one); return await world.answer(one) }, lifeMs: 1000, now: () => clock.ms, time: () => 5_000, most })
  }
  return world
}

await t.test('one that was right is not asked for again, until its time is over', async t => {
  const { signIns, asked, clock } = world()
  t.equal(signIns.known(basic('alice', 'right'), '::ffff:10.0.0.1'), undefined)
  await signIns.signIn(basic('alice', 'right'), '::ffff:10.0.0.1')
  t.strictSame(asked.map(({ user, address }) => [user, address]), [['alice', '::ffff:10.0.0.1']])
  t.equal(signIns.known(basic('alice', 'right'), '10.0.0.1'), 'alice')
  t.equal(signIns.known(basic('alice', 'right'), '10.0.0.2'), undefined, 'from elsewhere it is another one')
  t.equal(signIns.known(basic('bob', 'right'), '10.0.0.1'), undefined)
  t.equal(signIns.known(token('right'), '10.0.0.1'), undefined, 'a token is no password')
  clock.ms = 999
  t.equal(signIns.known(basic('alice', 'right'), '10.0.0.1'), 'alice')
  clock.ms = 1000
  t.equal(signIns.known(basic('alice', 'right'), '10.0.0.1'), undefined)
  t.equal(signIns.size, 0)
})

await t.test('who guesses ends what is remembered: it would answer faster than guesses may be made', async t => {
  const { signIns, asked } = world()
  await signIns.signIn(basic('alice', 'right'), '10.0.0.1')
  await signIns.signIn(basic('alice', 'right'), '10.0.0.2')
  await t.rejects(signIns.signIn(basic('alice', 'guess'), '10.0.0.1'), { code: 'unauthorized' })
  t.equal(signIns.known(basic('alice', 'right'), '10.0.0.1'), undefined)
  t.equal(signIns.known(basic('alice', 'right'), '10.0.0.2'), 'alice', 'nobody elsewhere is slower for it')
  t.equal(asked.length, 3, 'every guess is the engine\'s to judge')
})

await t.test('a change of the account ends it, also one that comes while the password is looked at', async t => {
  const w = world()
  await w.signIns.signIn(basic('alice', 'right'), 'a')
  await w.signIns.signIn(token('right'), 'a')
  w.signIns.forget('alice')
  t.strictSame([w.signIns.known(basic('alice', 'right'), 'a'), w.signIns.known(token('right'), 'a'), w.signIns.size], [undefined, undefined, 0])
  let go = (): void => {}
  w.answer = async () => { await new Promise<void>(resolve => { go = resolve }); return right('alice') }
  const open = w.signIns.signIn(token('right'), 'a')
  w.signIns.forget('alice')
  go()
  await open
  t.equal(w.signIns.known(token('right'), 'a'), undefined, 'to be asked for again')
})

await t.test('many at once have one password looked at, and all hear what became of it', async t => {
  const w = world()
  let go = (): void => {}
  w.answer = async () => { await new Promise<void>(resolve => { go = resolve }); return wrong }
  const open = Array.from({ length: 10 }, () => w.signIns.signIn(basic('alice', 'x'), 'a'))
  go()
  for (const one of open) await t.rejects(one, { code: 'unauthorized' })
  t.equal(w.asked.length, 1)
})

await t.test('a token is remembered no longer than it lasts', async t => {
  const w = world()
  w.answer = () => ({ ok: true, value: { user: 'alice', until: 5_400 } })
  await w.signIns.signIn(token('x'), 'a')
  t.strictSame(w.asked.map(({ user, protocol }) => [user, protocol]), [[undefined, 'http']])
  w.clock.ms = 399
  t.equal(w.signIns.known(token('x'), 'a'), 'alice')
  w.clock.ms = 400
  t.equal(w.signIns.known(token('x'), 'a'), undefined)
})

await t.test('so many are remembered', async t => {
  const { signIns } = world(3)
  for (const user of ['a', 'b', 'c', 'd']) await signIns.signIn(basic(user, 'right'), 'x')
  t.strictSame(['a', 'b', 'c', 'd'].map(user => signIns.known(basic(user, 'right'), 'x')), [undefined, 'b', 'c', 'd'])
  t.equal(signIns.size, 3)
})

await t.test('what Authorization says', t => {
  const pair = (text: string): string => Buffer.from(text).toString('base64')
  t.strictSame(readCredentials(`Basic ${pair('alice:a:b')}`), basic('alice', 'a:b'), 'a password may have colons')
  t.strictSame(readCredentials(`bAsIc ${pair('alice:')}`), basic('alice', ''))
  t.strictSame(readCredentials(`Basic ${pair('zoë:ü')}`), basic('zoë', 'ü'))
  t.strictSame(readCredentials('Bearer a.b-c_d~e+f/g=='), token('a.b-c_d~e+f/g=='))
  for (const none of [undefined, '', 'Basic', 'Basic a b', `Basic ${pair('alice')}`, 'Bearer', 'Bearer a,b', 'Bearer "a"', 'Token x', 'x'.repeat(13_000), `Bearer ${'x'.repeat(12_000)}`]) t.equal(readCredentials(none), undefined)
  t.end()
})
