/** Contacts: what a failure between two steps leaves, and who then asks for something else; what a removed account leaves. */
import t from 'tap'
import { bench, type Bench } from '../support/control-host.ts'

const lastEvent = async (b: Bench, user: string): Promise<unknown> => (await b.events(user)).filter(({ kind }) => kind === 'contact').at(-1)
async function rowsOf (b: Bench, start: string): Promise<string[]> {
  const keys: string[] = []
  for await (const [key] of b.store.records.range(`${start}/`, `${start}0`)) keys.push(key)
  return keys
}

/** The request fails at its step `fail`, from 1. */
async function cutOff (t: Tap, b: Bench, fail: number, [user, method, other]: Asking): Promise<void> {
  const { write } = b.store.records
  const { commit } = b.host
  let calls = 0
  const failing = <Args extends unknown[], Result>(run: (...args: Args) => Promise<Result>) => async (...args: Args): Promise<Result> => {
    if (++calls === fail) throw new Error('cut off')
    return await run(...args)
  }
  Object.assign(b.store.records, { write: failing(write.bind(b.store.records)) })
  Object.assign(b.host, { commit: failing(commit) })
  await t.rejects(b.ask(user, `contacts.${method}`, { user: other }), { message: 'cut off' })
  Object.assign(b.store.records, { write: write.bind(b.store.records) })
  Object.assign(b.host, { commit })
}
type Tap = Pick<typeof t, 'rejects'>
type Asking = readonly [user: string, method: string, other: string]

await t.test('what was cut off can be taken back, by either of the two', async t => {
  for (const fail of [2, 3]) {
    for (const [begun, end] of [
      [['bob', 'accept', 'alice'], ['bob', 'refuse', 'alice']],
      [['bob', 'accept', 'alice'], ['bob', 'remove', 'alice']],
      [['bob', 'accept', 'alice'], ['alice', 'remove', 'bob']],
      [['alice', 'request', 'bob'], ['alice', 'remove', 'bob']],
      [['alice', 'request', 'bob'], ['bob', 'refuse', 'alice']],
      [['bob', 'refuse', 'alice'], ['alice', 'remove', 'bob']],
      [['alice', 'remove', 'bob'], ['bob', 'remove', 'alice']]
    ] as const) {
      const what = `${begun.join(' ')}, step ${fail}, ${end.join(' ')}`
      const b = await bench(t, { path: `${t.testdir()}/${what.replaceAll(/[ ,]+/g, '-')}` })
      if (begun[1] !== 'request') await b.ask('alice', 'contacts.request', { user: 'bob' })
      if (begun[1] === 'remove') await b.ask('bob', 'contacts.accept', { user: 'alice' })
      await cutOff(t, b, fail, begun)
      const [user, method, other] = end
      await b.ask(user, `contacts.${method}`, { user: other })
      for (const one of ['alice', 'bob']) t.match(await lastEvent(b, one), { state: 'none' }, `${what}: ${one} hears of it`)
      t.same(await rowsOf(b, 'contacts'), [], `${what}: nothing is left that could be accepted`)
    }
  }
})

await t.test('a request that was cut off is none too many when it is made again', async t => {
  for (const fail of [2, 3]) {
    const b = await bench(t, { path: `${t.testdir()}/${fail}`, limits: { maxContactRequests: 1, maxContactRequestsMade: 1 } })
    await cutOff(t, b, fail, ['alice', 'request', 'bob'])
    t.same(await b.ask('alice', 'contacts.request', { user: 'bob' }), { user: 'bob', state: 'asked' })
    await t.rejects(b.ask('carol', 'contacts.request', { user: 'bob' }), { code: 'too_large' })
  }
})

await t.test('with an account all its rows go, also those that are more than now may be', async t => {
  const b = await bench(t, { mode: 'password', limits: { maxContacts: 60, maxContactRequests: 60, maxContactRequestsMade: 60 } })
  const others = Array.from({ length: 165 }, (_, i) => `u${i}`)
  for (const uid of ['alice', ...others]) await b.store.putUser({ uid, createdAt: 1 })
  const [friends, asked, asking] = [others.slice(0, 55), others.slice(55, 110), others.slice(110)]
  for (const user of friends) {
    await b.ask('alice', 'contacts.request', { user })
    await b.ask(user, 'contacts.accept', { user: 'alice' })
    await b.ask('alice', 'contacts.set', { user, groups: ['all'] })
  }
  for (const user of asked) await b.ask('alice', 'contacts.request', { user })
  for (const user of asking) await b.ask(user, 'contacts.request', { user: 'alice' })
  Object.assign(b.host.limits, { maxContacts: 2, maxContactRequests: 2, maxContactRequestsMade: 2 })
  t.equal((await b.ask('alice', 'contacts.list', { group: 'all', limit: 100 }) as { contacts: unknown[] }).contacts.length, 55)
  await b.control.accounts.users.remove('alice')
  t.same(await rowsOf(b, 'contacts'), [])
  for (const user of others) t.match(await lastEvent(b, user), { user: 'alice', state: 'none' })
})

await t.test('what comes in while an account is being removed leaves nothing', async t => {
  const b = await bench(t, { mode: 'password' })
  for (const uid of ['alice', 'bob']) await b.store.putUser({ uid, createdAt: 1 })
  const { dropUser } = b.store
  Object.assign(b.store, {
    dropUser: async (...args: Parameters<typeof dropUser>) => {
      await b.ask('bob', 'contacts.request', { user: 'alice' })
      await b.ask('alice', 'people.set', { nickname: 'Ali' })
      await dropUser.apply(b.store, args)
    }
  })
  await b.control.accounts.users.remove('alice')
  t.same(await rowsOf(b, 'contacts'), [])
  t.same(await rowsOf(b, 'profiles'), [])
  t.match(await lastEvent(b, 'bob'), { user: 'alice', state: 'none' })
})
