/** Nobody can lock an account, or everybody behind an address, for others. */
import t from 'tap'
import type { Test } from 'tap'
import { Budget } from '../../broker/engine/people/budget.ts'
import { FairQueue } from '../../broker/fair-queue.ts'
import type { Passwords } from '../../broker/engine/people/password-hash.ts'
import { bench } from '../support/control-host.ts'

/** The hash of a password is the password. */
const plain: Passwords = {
  decoy: async () => 'decoy',
  work: async task => await task(),
  hash: async password => `#${String(password)}`,
  verify: async (hashed, password, { stillWanted, failed }) => {
    stillWanted()
    const right = hashed === `#${Buffer.from(password).toString()}`
    if (!right) failed()
    return right
  }
}

async function opened (t: Test) {
  const { control, clock } = await bench(t, { mode: 'password', setup: { accounts: { passwords: plain } } })
  const { users } = control.accounts
  for (const name of ['alice', 'bob', 'carol']) await users.add(name, 'right')
  /** The code of the refusal, or 'in'. */
  const tries = async (user: string, password: string, address: string): Promise<string> => {
    try {
      await control.authenticate({ user, password: Buffer.from(password), address })
      return 'in'
    } catch (error) {
      return (error as { code: string }).code
    }
  }
  return { clock, users, tries }
}

await t.test('strangers from many addresses guess ten times a second: the owner is let in', async t => {
  const { clock, tries } = await opened(t)
  t.equal(await tries('alice', 'right', '10.0.0.1'), 'in')
  const known: string[] = []
  const fresh: string[] = []
  let tried = 0
  for (let second = 0; second < 60; second++) {
    for (let i = 0; i < 10; i++) {
      if (await tries('alice', 'guess', `192.0.2.${(second * 10 + i) % 200}`) === 'unauthorized') tried++
      clock.ms += 100
    }
    known.push(await tries('alice', 'right', '10.0.0.1'))
    fresh.push(await tries('alice', 'right', `198.51.100.${second}`))
  }
  t.strictSame(new Set(known), new Set(['in']), 'from where it was before, 60 of 60')
  t.strictSame(new Set(fresh), new Set(['in']), 'from a new place, too')
  t.ok(tried < 320, `of 600 guesses ${tried} were tried`)
})

await t.test('one made-up login a second behind a proxy keeps nobody out', async t => {
  const { clock, tries } = await opened(t)
  const proxy = '203.0.113.7'
  const outcomes: string[] = []
  for (let second = 0; second < 180; second++) {
    await tries(`made-up-${second}`, 'x', proxy)
    clock.ms += 1_000
    outcomes.push(await tries(['alice', 'bob', 'carol'][second % 3] as string, 'right', proxy))
  }
  t.strictSame(new Set(outcomes), new Set(['in']), '180 of 180')
})

await t.test('nor do a hundred a second, for who was there before', async t => {
  const { clock, tries } = await opened(t)
  const proxy = '203.0.113.7'
  t.equal(await tries('alice', 'right', proxy), 'in')
  let tried = 0
  for (let i = 0; i < 6_000; i++) {
    if (await tries(`made-up-${i}`, 'x', proxy) === 'unauthorized') tried++
    clock.ms += 10
    if (i % 100 === 0) t.equal(await tries('alice', 'right', proxy), 'in')
  }
  t.ok(tried <= 60 + 120 + 1, `${tried} in a minute: the burst and the rate`)
  while (await tries('made-up', 'x', proxy) === 'unauthorized') tried++
  t.equal(await tries('bob', 'right', proxy), 'rate_limited', 'one that was not has to wait')
  clock.ms += 500
  t.equal(await tries('bob', 'right', proxy), 'in')
})

await t.test('names that are none, and clients without a password, count against nobody', async t => {
  const { tries } = await opened(t)
  for (let i = 0; i < 200; i++) t.equal(await tries('a/b', 'x', '203.0.113.7'), 'unauthorized')
  t.equal(await tries('alice', 'right', '203.0.113.7'), 'in')
})

await t.test('a new password makes those who knew the old one strangers', async t => {
  const { tries, users } = await opened(t)
  t.equal(await tries('alice', 'right', '10.0.0.1'), 'in')
  for (let i = 0; i < 60; i++) await tries(`made-up-${i}`, 'x', '10.0.0.1')
  t.equal(await tries('alice', 'right', '10.0.0.1'), 'in')
  await users.passwd('alice', 'new')
  t.equal(await tries('alice', 'right', '10.0.0.1'), 'rate_limited')
})

await t.test('an IPv6 customer is one address', async t => {
  const { tries } = await opened(t)
  for (let i = 0; i < 11; i++) await tries('alice', 'x', `2001:db8:1:2::${i.toString(16)}`)
  t.equal(await tries('alice', 'right', '2001:db8:1:2:ffff::1'), 'rate_limited')
  t.equal(await tries('alice', 'right', '2001:db8:1:3::1'), 'in')
})

await t.test('a budget: a burst, then a rate, in bounded memory', t => {
  let now = 0
  const budget = new Budget({ burst: 3, perMinute: 60, maxKeys: 2 }, () => now)
  const wait = (): number => { const ms = budget.waitMs('a'); budget.take('a'); return ms }
  t.strictSame([wait(), wait(), wait(), wait(), wait()], [0, 0, 0, 1_000, 1_000], 'and there are no debts')
  now = 1_000
  t.equal(budget.waitMs('a'), 0)
  for (const key of ['b', 'c', 'd']) budget.take(key)
  t.equal(budget.size, 2)
  t.equal(budget.waitMs('a'), 0, 'the oldest went')
  now = 10_000
  budget.take('e')
  t.equal(budget.size, 1, 'full ones are forgotten')
  t.end()
})

await t.test('a fair queue: turns by key; who has most gives way', t => {
  const refused: string[] = []
  const queue = new FairQueue(4)
  const push = (key: string, name: string): void => { queue.push(key, { run () {}, refuse () { refused.push(name) }, name } as never) }
  for (const name of ['a1', 'a2', 'a3', 'a4', 'a5']) push('a', name)
  t.strictSame(refused, ['a5'])
  push('b', 'b1')
  push('c', 'c1')
  t.strictSame(refused, ['a5', 'a4', 'a3'])
  t.equal(queue.size, 4)
  const order: string[] = []
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) order.push((next as unknown as { name: string }).name)
  t.strictSame(order, ['a1', 'b1', 'c1', 'a2'])
  t.equal(queue.size, 0)
  t.end()
})
