/** Requests that are served at the same time, and whose turn it is. */
import t from 'tap'
import { RequestQueue } from '../../broker/engine/requests/request-queue.ts'
import { RequestRates } from '../../broker/engine/requests/request-rates.ts'

const microtasks = async (): Promise<void> => { for (let i = 0; i < 5; i++) await Promise.resolve() }

/** A queue whose requests end when the test says so. */
function bench (max: number, maxOfUser: number) {
  const queue = new RequestQueue(max, maxOfUser)
  const begun: string[] = []
  const leave: Array<() => void> = []
  const ask = (name: string): void => {
    queue.enter(name.charAt(0)).then(done => { begun.push(name); leave.push(done) }, () => {})
  }
  const end = async (): Promise<void> => {
    leave.shift()?.()
    await microtasks()
  }
  return { ask, begun, end }
}

await t.test('so many in all, fewer of one user, the others in turn by user', async t => {
  const { ask, begun, end } = bench(3, 2)
  for (const name of ['a1', 'a2', 'a3', 'a4', 'b1', 'b2', 'c1']) ask(name)
  await microtasks()
  t.strictSame(begun, ['a1', 'a2', 'b1'], 'a has its share')
  for (let i = 0; i < 4; i++) await end()
  t.strictSame(begun.slice(3), ['a3', 'b2', 'c1', 'a4'])
  for (let i = 0; i < 3; i++) await end()
  ask('a5')
  await microtasks()
  t.equal(begun.at(-1), 'a5', 'nothing is left over')
})

await t.test('who waits for an own request does not hold up who comes behind', async t => {
  const { ask, begun, end } = bench(2, 1)
  for (const name of ['a1', 'a2', 'b1', 'b2', 'c1']) ask(name)
  await microtasks()
  t.strictSame(begun, ['a1', 'b1'])
  await end()
  t.strictSame(begun, ['a1', 'b1', 'a2'])
  await end()
  t.strictSame(begun, ['a1', 'b1', 'a2', 'b2'])
  await end()
  t.strictSame(begun, ['a1', 'b1', 'a2', 'b2', 'c1'])
})

await t.test('rates: a burst, then a steady rate; large requests have one of their own', t => {
  let now = 0
  const rates = new RequestRates({ all: { perSecond: 10, burst: 3 }, heavy: { perSecond: 1, burst: 2 } }, () => now)
  for (let i = 0; i < 3; i++) rates.take('bob', false)
  t.throws(() => { rates.take('bob', false) }, { code: 'rate_limited', retryAfterMs: 100 })
  rates.take('alice', true)
  rates.take('alice', true)
  t.throws(() => { rates.take('alice', true) }, { code: 'rate_limited', retryAfterMs: 1000 })
  now += 100
  rates.take('bob', false)
  t.throws(() => { rates.take('bob', false) }, { code: 'rate_limited' })
  now += 10_000
  rates.take('alice', true)
  t.throws(() => { rates.charge('alice', 2) }, { code: 'rate_limited', retryAfterMs: 1000 }, 'what it turns out to be worth')
  now += 1000
  rates.charge('alice', 2)
  now += 10_000
  rates.owe('alice', 50)
  t.throws(() => { rates.take('alice', true) }, { code: 'rate_limited', retryAfterMs: 1000 }, 'a debt is never more than a whole burst')
  rates.take('alice', false)
  t.end()
})
