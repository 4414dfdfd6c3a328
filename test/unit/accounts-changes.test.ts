/** Changes of an account while somebody signs in, or while it is changed otherwise. */
import t from 'tap'
import type { Passwords } from '../../broker/engine/people/password-hash.ts'
import { bench } from '../support/control-host.ts'

/** Hashes that a test lets go one by one; the hash of a password is the password. */
function held (): Passwords & { open: Array<() => void>, next: () => Promise<void> } {
  const open: Array<() => void> = []
  const turn = (): Promise<void> => new Promise(resolve => { open.push(resolve) })
  return {
    open,
    next: async () => {
      while (open.length === 0) await new Promise(resolve => { setImmediate(resolve) })
      open.shift()?.()
    },
    decoy: async () => 'decoy',
    work: async task => await task(),
    hash: async password => { await turn(); return `#${String(password)}` },
    verify: async (hashed, password, { stillWanted, failed }) => {
      await turn()
      stillWanted()
      const right = hashed === `#${Buffer.from(password).toString()}`
      if (!right) failed()
      return right
    }
  }
}

const signIn = (password: string) => ({ user: 'bob', password: Buffer.from(password), address: '10.0.0.1' })
const rowOf = { uid: 'bob', createdAt: 1, passwordHash: '#old' }

await t.test('a ban, a removal or a new password during a sign-in', async t => {
  for (const [change, code] of [['ban', 'banned'], ['remove', 'unauthorized'], ['passwd', 'unauthorized']] as const) {
    await t.test(change, async t => {
      const passwords = held()
      const { control, store } = await bench(t, { mode: 'password', setup: { accounts: { passwords } } })
      await store.putUser(rowOf)
      const attempts = Array.from({ length: 3 }, () => control.authenticate(signIn('old')))
      const answers = Promise.allSettled(attempts)
      while (passwords.open.length < 3) await new Promise(resolve => { setImmediate(resolve) })
      const { users } = control.accounts
      const changed = change === 'ban' ? users.ban('bob', true) : change === 'remove' ? users.remove('bob') : users.passwd('bob', 'new')
      if (change === 'passwd') {
        while (passwords.open.length < 4) await new Promise(resolve => { setImmediate(resolve) })
        passwords.open.pop()?.()
      }
      await changed
      for (let i = 0; i < 3; i++) await passwords.next()
      t.match(await answers, Array(3).fill({ status: 'rejected', reason: { code } }))
    })
  }
})

await t.test('an account that is changed otherwise lets in who was signing in', async t => {
  const passwords = held()
  const { control, store } = await bench(t, { mode: 'password', setup: { accounts: { passwords } } })
  await store.putUser(rowOf)
  await store.putUser({ uid: 'eve', createdAt: 1, passwordHash: '#x' })
  const attempt = control.authenticate(signIn('old'))
  while (passwords.open.length < 1) await new Promise(resolve => { setImmediate(resolve) })
  await control.accounts.users.ban('eve', true)
  await passwords.next()
  t.same(await attempt, { user: 'bob' })
})

await t.test('a ban does not wait for the hash of a new password, and neither undoes the other', async t => {
  const passwords = held()
  const { control, store } = await bench(t, { mode: 'password', setup: { accounts: { passwords } } })
  await store.putUser(rowOf)
  const changed = control.accounts.users.passwd('bob', 'new')
  while (passwords.open.length < 1) await new Promise(resolve => { setImmediate(resolve) })
  await control.accounts.users.ban('bob', true)
  t.match(await store.user('bob'), { banned: true, passwordHash: '#old' })
  await passwords.next()
  await changed
  t.match(await store.user('bob'), { banned: true, passwordHash: '#new' })
})

await t.test('a new password for an account that is removed meanwhile brings nobody back', async t => {
  const passwords = held()
  const { control, store } = await bench(t, { mode: 'password', setup: { accounts: { passwords } } })
  await store.putUser(rowOf)
  const changed = t.rejects(control.accounts.users.passwd('bob', 'new'), { code: 'not_found' })
  while (passwords.open.length < 1) await new Promise(resolve => { setImmediate(resolve) })
  await control.accounts.users.remove('bob')
  await passwords.next()
  await changed
  t.match(await store.user('bob'), { removedAt: Number, passwordHash: undefined })
})

await t.test('a removal is one write: no crash frees the id', async t => {
  const { control, store, restart } = await bench(t, { mode: 'password' })
  await store.putUser(rowOf)
  await store.setBlock('bob', 'eve', true)
  store.putUser = async () => { throw new Error('the server died') }
  await control.accounts.users.remove('bob')
  const b = await restart(true)
  t.match(await b.store.user('bob'), { uid: 'bob', createdAt: 1, removedAt: Number })
  t.same(await b.store.blocks('bob'), [])
  await t.rejects(b.control.accounts.users.add('bob', 'x'), { code: 'conflict' })
})

await t.test('who signed in with a password that was changed meanwhile is not known', async t => {
  const passwords = held()
  const limits = { account: { burst: 1, perMinute: 1, maxKeys: 100 } }
  const { control, store } = await bench(t, { mode: 'password', setup: { accounts: { passwords, limits } } })
  await store.putUser(rowOf)
  const late = control.authenticate(signIn('old'))
  while (passwords.open.length < 1) await new Promise(resolve => { setImmediate(resolve) })
  const changed = control.accounts.users.passwd('bob', 'new')
  while (passwords.open.length < 2) await new Promise(resolve => { setImmediate(resolve) })
  passwords.open.pop()?.()
  await changed
  const again = t.rejects(late, { code: 'unauthorized' })
  await passwords.next()
  await again
  const wrong = t.rejects(control.authenticate(signIn('wrong')), { code: 'unauthorized' })
  await passwords.next()
  await wrong
  // The account's budget for strangers is spent: a known address would have another try.
  const answers: unknown[] = []
  control.authenticate(signIn('wrong')).catch((error: unknown) => { answers.push(error) })
  while (answers.length === 0) {
    passwords.open.shift()?.()
    await new Promise(resolve => { setImmediate(resolve) })
  }
  t.match(answers, [{ code: 'rate_limited' }])
})
