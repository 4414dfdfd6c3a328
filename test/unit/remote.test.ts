/** What other servers tell an engine: what it has in memory of what they changed, outputs of theirs, and accounts of which it may have heard nothing. */
import t from 'tap'
import { noticesOf, NoticingStore } from '../../broker/cluster/notices.ts'
import type { Notice, Others } from '../../broker/link/remote.ts'
import type { Plugin } from '../../broker/plugin-api.ts'
import { z } from 'zod'
import { bench, type Bench } from '../support/control-host.ts'
import { loadedPlugin } from '../support/engine-bench.ts'
import { until } from '../support/mailbox.ts'
import { SeatsWorld } from '../support/seats-world.ts'

const password = Buffer.from('secret')
/** Verifies in no time. */
const passwords = {
  hash: (text: string) => Promise.resolve(`hash of ${text} `.padEnd(40, text)),
  verify: (hash: string | undefined, bytes: Uint8Array) => Promise.resolve(hash === `hash of ${Buffer.from(bytes).toString()} `.padEnd(40, Buffer.from(bytes).toString())),
  work: <Result>(task: () => Promise<Result>) => task(),
  decoy: () => Promise.resolve('')
}

const others: Others = {
  claim: () => Promise.resolve(undefined),
  keep: () => Promise.resolve({ mine: true }),
  leave: () => {},
  release: () => Promise.resolve(undefined)
}

/** Closed by the one whose it is. */
class Shared extends NoticingStore {
  override close (): Promise<void> { return Promise.resolve() }
}

/** Two servers' control on one store: what `left` changes `right` is told when `tell` says so. */
async function pair (t: Parameters<typeof bench>[0], mode: 'dev' | 'password' = 'dev'): Promise<{ left: Bench, right: Bench, said: Notice[], tell: () => void }> {
  const said: Notice[] = []
  const setup = { accounts: { passwords: passwords as never }, groupConsent: 'everybody' as const }
  const right = await bench(t, { mode, setup })
  Reflect.set(right.host, 'remote', { others, cut: () => {}, settled: () => Promise.resolve(), doubts: () => [], adopt: () => {} })
  const store = new Shared(right.store, notices => { said.push(...notices) })
  const left = await bench(t, { mode, setup, open: () => Promise.resolve(store), path: right.store.constructor.name })
  const tell = (): void => { for (const notice of said.splice(0)) right.control.remote.forget(notice) }
  return { left, right, said, tell }
}

await t.test('members', async t => {
  const { left, right, said, tell } = await pair(t)
  await left.ask('alice', 'groups.create', { gid: 'dev', name: 'Dev', members: ['bob'] })
  t.same(said, [{ kind: 'group', gid: 'dev', users: ['alice', 'bob'] }])
  tell()
  t.equal(await right.control.isMember('bob', 'dev'), true)
  t.equal(await right.control.isMember('carol', 'dev'), false)
  await left.ask('alice', 'groups.remove', { gid: 'dev', users: ['bob'] })
  await left.ask('alice', 'groups.add', { gid: 'dev', users: ['carol'] })
  t.same([await right.control.isMember('bob', 'dev'), await right.control.isMember('carol', 'dev')], [true, false], 'as it has them in memory')
  tell()
  t.same([await right.control.isMember('bob', 'dev'), await right.control.isMember('carol', 'dev')], [false, true])
  t.same(await right.control.mayPost('bob', 'dev'), { ok: false, code: 'not_found', reason: 'there is no such group, or you are not in it' })
  await left.ask('alice', 'groups.dissolve', { gid: 'dev' })
  t.same(said, [{ kind: 'group', gid: 'dev' }])
  tell()
  t.equal(await right.control.isMember('carol', 'dev'), false)
})

await t.test('how many groups somebody is in', async t => {
  const { left, right, tell } = await pair(t)
  Object.assign(right.host.limits, { maxGroupMemberships: 1, maxGroupsPerUser: 5 })
  await right.ask('alice', 'groups.create', { gid: 'one', name: 'One', members: [] })
  t.match(await right.ask('alice', 'groups.add', { gid: 'one', users: ['bob'] }), { added: ['bob'] })
  await left.ask('alice', 'groups.remove', { gid: 'one', users: ['bob'] })
  await right.ask('carol', 'groups.create', { gid: 'two', name: 'Two', members: [] })
  t.match(await right.ask('carol', 'groups.add', { gid: 'two', users: ['bob'] }), { refused: [{ user: 'bob', code: 'too_large' }] }, 'as it has it in memory')
  tell()
  t.match(await right.ask('carol', 'groups.add', { gid: 'two', users: ['bob'] }), { added: ['bob'] })
})

await t.test('block lists, consent and the advice on keep alive', async t => {
  const { left, right, said, tell } = await pair(t)
  t.equal(await right.control.blocks('alice', 'bob'), false)
  t.match(await right.ask('alice', 'groups.consent', {}), { consent: 'everybody' })
  await left.ask('alice', 'blocks.add', { user: 'bob' })
  await left.ask('alice', 'groups.consent', { consent: 'nobody' })
  await left.operate('server.keepalive', { wifi: 77 })
  t.same(said, [{ kind: 'blocks', user: 'alice' }, { kind: 'record', key: 'groups/consent/alice' }, { kind: 'record', key: 'server/keepalive' }])
  t.equal(await right.control.blocks('alice', 'bob'), false, 'as it has it in memory')
  tell()
  t.equal(await right.control.blocks('alice', 'bob'), true)
  t.match(await right.ask('alice', 'groups.consent', {}), { consent: 'nobody' })
  await until(() => right.outputs.some(({ kind }) => kind === 'server'), 5_000, 'the description to be said anew')
  t.match(right.outputs.filter(({ kind }) => kind === 'server'), [{ info: { keepAlive: { wifi: 77 } } }])
  await left.ask('alice', 'blocks.remove', { user: 'bob' })
  said.length = 0
  right.control.remote.forget({ kind: 'all' })
  t.equal(await right.control.blocks('alice', 'bob'), false, 'everything may have been missed')
  await left.operate('server.keepalive', { reset: true })
  for (let times = 0; times < 50; times++) right.control.remote.forget({ kind: 'all' })
  await until(() => right.outputs.filter(({ kind }) => kind === 'server').length === 2, 5_000, 'the description to be said anew')
})

await t.test('contacts, and of whom one takes messages', async t => {
  const { left, right, tell } = await pair(t)
  t.equal(await right.control.mayWrite('alice', 'bob'), true)
  await left.ask('alice', 'contacts.mode', { mode: 'contacts' })
  t.equal(right.control.mayWrite('alice', 'bob'), true, 'as it has it in memory')
  tell()
  t.equal(await right.control.mayWrite('alice', 'bob'), false)
  await left.ask('bob', 'contacts.request', { user: 'alice' })
  await left.ask('alice', 'contacts.accept', { user: 'bob' })
  t.equal(right.control.mayWrite('alice', 'bob'), false, 'as it has it in memory')
  tell()
  t.equal(await right.control.mayWrite('alice', 'bob'), true)
  await left.ask('bob', 'contacts.remove', { user: 'alice' })
  right.control.remote.forget({ kind: 'all' })
  t.equal(await right.control.mayWrite('alice', 'bob'), false, 'everything may have been missed')
})

await t.test('accounts', async t => {
  const { left, right, said, tell } = await pair(t, 'password')
  t.equal(await right.control.userExists('alice'), false)
  await left.control.accounts.users.add('alice', 'secret')
  t.same(said, [{ kind: 'user', user: 'alice' }])
  t.equal(right.control.userExists('alice'), false, 'as it has it in memory')
  tell()
  t.equal(await right.control.userExists('alice'), true)
  // A ban while somebody signs in: the account is looked at again.
  const { verify } = passwords
  passwords.verify = async (...args) => {
    await left.control.accounts.users.ban('alice', true)
    tell()
    return await verify(...args)
  }
  await t.rejects(right.control.authenticate({ user: 'alice', password, address: '::1' }), { code: 'banned' })
  passwords.verify = verify
})

await t.test('accounts of users who are connected, when words may be lost', async t => {
  const { left, right } = await pair(t, 'password')
  const { users } = left.control.accounts
  const names = ['alice', 'bob', 'carol', 'dave', 'erin']
  for (const uid of names) await users.add(uid, 'secret')
  for (const user of names) {
    await right.control.authenticate({ user, password, address: '::1' })
    await right.control.openSession({ session: `${user}/phone`, user, clientId: 'phone', cleanStart: true, expirySeconds: 0 })
  }
  const kicks = (): unknown[] => right.outputs.filter(({ kind }) => kind === 'kick')
  await right.control.remote.verify()
  t.same(kicks(), [], 'nothing has changed')
  await users.ban('alice', true)
  await users.remove('bob')
  await users.passwd('carol', 'new')
  await users.passwd('erin', 'new')
  // Who signs in with the new password does not save those who had the old one.
  await right.control.authenticate({ user: 'erin', password: Buffer.from('new'), address: '::1' })
  let looks = 0
  const usersAt = right.store.usersAt.bind(right.store)
  right.store.usersAt = uids => {
    looks++
    return usersAt(uids)
  }
  await Promise.all([right.control.remote.verify(), right.control.remote.verify(['nobody at all'])])
  t.equal(looks, 1, 'one look for all, and one at a time')
  t.same(kicks(), [{ kind: 'kick', user: 'alice', code: 'banned' }, { kind: 'kick', user: 'bob', code: 'not_found' }, { kind: 'kick', user: 'carol', code: 'unauthorized' }, { kind: 'kick', user: 'erin', code: 'unauthorized' }])
  await right.control.authenticate({ user: 'carol', password: Buffer.from('new'), address: '::1' })
  await right.control.remote.verify(['carol', 'erin', 'dave'])
  t.equal(kicks().length, 4, 'they are told once')
  await users.passwd('dave', 'new')
  right.control.remote.outputs([{ kind: 'kick', user: 'dave', code: 'unauthorized' }])
  await right.control.remote.verify(['dave'])
  t.equal(kicks().length, 4, 'and not of what they were told already')
})

await t.test('in dev mode an id that has no account is nobody\'s', async t => {
  const { left, right } = await pair(t)
  await left.control.accounts.users.ban('alice', true)
  await right.control.remote.verify(['alice', 'bob', ''])
  t.same(right.outputs, [{ kind: 'kick', user: 'alice', code: 'banned' }])
})

await t.test('a kick of another server ends what waits in lanes here', async t => {
  const world = new SeatsWorld(t)
  const slow: Plugin = { name: 'slow', description: 'lets everybody wait', options: z.unknown(), timeoutMs: 1000, onFailure: 'pass', start: () => ({ onPublish: () => ({ delayMs: 300 }) }) }
  const { bench: { engine, send, verdict, outputs } } = await world.start('a', { plugins: [loadedPlugin(slow)] })
  const refs = [send('bob', 'im/to/u/alice', 'one'), send('carol', 'im/to/u/alice', 'two')]
  await until(() => outputs.filter(({ kind }) => kind === 'hold').length === 2, 5_000, 'both to wait')
  engine.remote.outputs([{ kind: 'kick', user: 'bob', code: 'banned' }, { kind: 'expired', session: 'bob/phone' }])
  t.match(await Promise.all(refs.map(verdict)), [{ ok: 'failed' }, { ok: true }])
  t.notOk(outputs.some(({ kind }) => kind === 'kick'), 'whoever brought it gives it to the gateway')
})

await t.test('notices of a commit: one for each group', async t => {
  t.same(noticesOf([
    { op: 'member', gid: 'a', user: 'x', role: 'member' }, { op: 'member.drop', gid: 'b', user: 'y' }, { op: 'member', gid: 'a', user: 'z', role: 'member' },
    { op: 'group', group: { gid: 'd', name: 'D', owner: 'x', createdAt: 1 } }, { op: 'event', user: 'x', ts: 1, content: '{}' },
    { op: 'group.drop', gid: 'b' }, { op: 'member', gid: 'b', user: 'w', role: 'owner' }
  ]), [{ kind: 'group', gid: 'a', users: ['x', 'z'] }, { kind: 'group', gid: 'b' }])
})

await t.test('a change that failed is told too: it may be stored', async t => {
  const said: Notice[] = []
  const refuse = (): Promise<never> => Promise.reject(new Error('away'))
  const b = await bench(t)
  const store = new NoticingStore(Object.assign(Object.create(b.store) as typeof b.store, { commit: refuse, setBlock: refuse, putUser: refuse, dropUser: refuse, records: { ...b.store.records, write: refuse, swap: refuse, create: refuse } }), notices => { said.push(...notices) })
  const bytes = Buffer.from('x')
  for (const work of [
    store.commit([{ op: 'member.drop', gid: 'a', user: 'x' }]), store.commit([]), store.setBlock('a', 'b', true), store.putUser({ uid: 'u', createdAt: 1 }), store.dropUser('v'),
    store.records.write([{ key: 'people/x', value: bytes }, { key: 'retained/x', value: null }], true), store.records.swap('wills/x', bytes, null), store.records.create('people/scram-secret', bytes)
  ]) await t.rejects(work.then(() => {}), { message: 'away' })
  t.same(said, [{ kind: 'group', gid: 'a', users: ['x'] }, { kind: 'blocks', user: 'a' }, { kind: 'user', user: 'u' }, { kind: 'user', user: 'v' }, { kind: 'record', key: 'people/x' }, { kind: 'record', key: 'people/scram-secret' }])
})
