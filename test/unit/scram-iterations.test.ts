/** With how many iterations SCRAM-SHA-256 answers names, when auth.scramIterations is changed. */
import t from 'tap'
import type { Test } from 'tap'
import { bench, type Bench, type BenchOptions } from '../support/control-host.ts'
import { fieldsOf, method, ScramClient } from '../support/scram.ts'

const address = '10.0.0.1'
const withScram = async (t: Test, { setup, ...options }: BenchOptions): Promise<Bench> =>
  await bench(t, { mode: 'password', ...options, setup: { accounts: { scramIterations: 4096, ...setup?.accounts } } })
const challengeOf = async ({ control }: Bench, user: string): Promise<Map<string, string>> => {
  const { data } = await control.authenticateStep({ method, data: new ScramClient({ user, password: '' }).first, address })
  return fieldsOf(Buffer.from(data).toString())
}

await t.test('a number of iterations does not tell who has an account', async t => {
  const path = t.testdir() + '/store'
  const clock = { ms: 1_790_000_000_000 }
  const some = (kind: string): string[] => Array.from({ length: 200 }, (_, at) => `${kind}${at}`)
  const of = async (b: Bench, names: string[]): Promise<Array<string | undefined>> =>
    await Promise.all(names.map(async name => (await challengeOf(b, name)).get('i')))
  const b = await withScram(t, { path, clock })
  await b.control.accounts.users.add('alice', 'x')
  await b.control.accounts.users.add('gone', 'x')
  t.strictSame(new Set(await of(b, some('nobody'))), new Set(['4096']), 'before any change')
  await b.store.close()

  const more = await withScram(t, { path, clock, setup: { accounts: { scramIterations: 5000 } } })
  t.strictSame(await of(more, ['alice', ...some('nobody')]), Array(201).fill('4096'), 'no account has followed it yet, and no other name')
  let before = await of(more, some('nobody'))
  for (const days of [7, 14, 1000]) {
    clock.ms += days * 86_400_000
    const now = await of(more, some('nobody'))
    t.ok(now.every((iterations, at) => iterations === before[at] || (before[at] === '4096' && iterations === '5000')), 'none goes back')
    t.ok(now.includes('4096') && now.includes('5000'), 'some follow it, at different times')
    t.not(now.filter(iterations => iterations === '5000').length, before.filter(iterations => iterations === '5000').length)
    before = now
  }
  const followed = before.filter(iterations => iterations === '5000').length
  t.ok(followed > 50 && followed < 150, 'about half of them at last')
  t.equal((await challengeOf(more, 'alice')).get('i'), '4096')
  await more.control.authenticate({ user: 'gone', password: Buffer.from('x'), address })
  await more.control.accounts.close()
  t.equal((await challengeOf(more, 'gone')).get('i'), '5000')
  const names = some('late')
  for (const name of names.slice(0, 5)) await more.control.accounts.users.add(name, 'x')
  await more.control.accounts.users.remove('gone')
  for (const name of names.slice(0, 5)) await more.control.accounts.users.remove(name)
  t.strictSame(await of(more, ['gone', ...names.slice(0, 5)]), Array(6).fill('5000'), 'nor who was removed')
  await more.store.close()

  const same = await withScram(t, { path, clock, setup: { accounts: { scramIterations: 5000 } } })
  t.strictSame(await of(same, some('nobody')), before, 'a restart is no change')
})
