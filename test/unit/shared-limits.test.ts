/** Limits that several servers count together: what a user may get at most, what is told at all, and sign-ins. */
import t from 'tap'
import type { LimitWord } from '../../broker/link/limits.ts'
import { SignInLimits } from '../../broker/engine/people/sign-in-limits.ts'
import { RequestRates } from '../../broker/engine/requests/request-rates.ts'
import { SharedLimits } from '../../broker/engine/shared-limits.ts'
import type { Draft, PluginContext } from '../../broker/plugin-api.ts'
import rateLimit from '../../plugins/rate-limit.ts'

interface Server { limits: SharedLimits, told: LimitWord[][] }

/** Servers whose words reach each other at once, unless `isCut`. */
function servers (count: number, steady: () => number, isCut = (): boolean => false): Server[] {
  const all: Server[] = []
  for (let i = 0; i < count; i++) {
    const told: LimitWord[][] = []
    const tell = (words: LimitWord[]): void => {
      told.push(words)
      if (!isCut()) for (const other of all) if (other.told !== told) other.limits.hear(structuredClone(words))
    }
    all.push({ limits: new SharedLimits({ servers: count, tell }, steady), told })
  }
  return all
}

const draft = (from: string): Draft => ({ from, sizeBytes: 10 }) as Draft

/** How many messages a user with a connection at each of `count` servers gets through, of `perSecond` at each, in each of `seconds`. */
async function flood (count: number, perSecond: number, seconds: number, { shared = true, isCut = () => false }: { shared?: boolean, isCut?: (nowMs: number) => boolean } = {}): Promise<{ passed: number[], told: number }> {
  let now = 0
  const world = servers(count, () => now, () => isCut(now))
  const options = rateLimit.options.parse({ messagesPerSecond: 100, burst: 200, maxDelayMs: 0 })
  const plugins = await Promise.all(world.map(({ limits }) => rateLimit.start(options, {
    steady: () => now,
    ...shared && { shareLimit: (rate: Parameters<SharedLimits['share']>[1], onSpent: Parameters<SharedLimits['share']>[2]) => limits.share('plugin rate-limit', rate, onSpent) }
  } as PluginContext)))
  const passed: number[] = Array.from({ length: seconds }, () => 0)
  let sent = 0
  for (now = 0; now < seconds * 1000; now++) {
    for (; sent < perSecond * now / 1000; sent++) {
      for (const plugin of plugins) if (plugin.onPublish?.(draft('eve')) === undefined) passed[Math.floor(now / 1000)] = (passed[Math.floor(now / 1000)] as number) + 1
    }
    if (now % 250 === 249) for (const { limits } of world) limits.tell()
  }
  for (const { limits } of world) limits.close()
  return { passed, told: world.reduce((sum, { told }) => sum + told.length, 0) }
}

const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0)

await t.test('a user at several servers gets a burst at each once, and then the rate, and a quarter of it at most', async t => {
  for (const count of [2, 3]) {
    const { passed } = await flood(count, 1_000, 30)
    const alone = await flood(count, 1_000, 30, { shared: false })
    t.ok(sum(passed) <= (count * 200) + 30 * 100 * 1.25 + 50, `${sum(passed)} of ${count} servers in 30 s`)
    t.ok(sum(passed.slice(10)) <= 20 * 100 * 1.25 + 50, `${sum(passed.slice(10))} in the last 20 s: the bursts are paid back`)
    t.ok(sum(passed.slice(10)) >= 20 * 100 * 0.8, 'and not less than the rate')
    t.ok(sum(alone.passed.slice(10)) >= count * 20 * 100 * 0.99, `${sum(alone.passed.slice(10))} where each counts by itself`)
  }
})

await t.test('at half of the rate at each of two servers nobody is held up, far below it nothing is told', async t => {
  const half = await flood(2, 50, 20)
  t.equal(sum(half.passed), 20 * 50 * 2)
  const low = await flood(2, 6, 60)
  t.same([sum(low.passed), low.told], [60 * 6 * 2, 0])
})

await t.test('while nothing comes across each counts by itself, and together again after that', async t => {
  const { passed } = await flood(2, 1_000, 40, { isCut: now => now >= 10_000 && now < 20_000 })
  t.ok(sum(passed.slice(11, 20)) >= 2 * 9 * 100 * 0.95, `${sum(passed.slice(11, 20))} while they are apart`)
  t.ok(sum(passed.slice(22)) <= 18 * 100 * 1.25 + 50, `${sum(passed.slice(22))} after it`)
})

await t.test('requests, and large ones by themselves', async t => {
  let now = 0
  const world = servers(2, () => now)
  const [one, two] = world.map(({ limits }) => new RequestRates({ all: { perSecond: 10, burst: 20 }, heavy: { perSecond: 1, burst: 4 } }, () => now, limits)) as [RequestRates, RequestRates]
  for (let i = 0; i < 20; i++) one.take('bob', false)
  one.owe('carol', 4)
  for (const { limits } of world) limits.tell()
  t.throws(() => { two.take('bob', false) }, { code: 'rate_limited' })
  t.throws(() => { two.charge('carol', 1) }, { code: 'rate_limited' })
  two.take('dave', true)
  now += 1_000
  two.take('bob', false)
  for (const { limits } of world) limits.close()
})

await t.test('keys that wait are told in portions, by the timer', async t => {
  let now = 0
  const [one, two] = servers(2, () => now) as [Server, Server]
  const heard = new Map<string, number>()
  const spend = one.limits.share('x', { perSecond: 1, burst: 1 }, () => {})
  two.limits.share('x', { perSecond: 1, burst: 1 }, (key, tokens) => { heard.set(key, tokens) })
  for (let i = 0; i < 2_500; i++) spend(`user${i}`, 3)
  spend('user1', 4)
  one.limits.tell()
  t.equal(heard.size, 1_000)
  await new Promise<void>(resolve => {
    const look = setInterval(() => {
      if (heard.size < 2_500) return
      clearInterval(look)
      resolve()
    }, 20)
  })
  t.same([heard.get('user1'), heard.get('user2')], [7, 3])
  now++
  for (const { limits } of [one, two]) limits.close()
})

await t.test('failed sign-ins count at each server, and who came in is known at each', async t => {
  let now = 0
  const pair = { freeFailures: 3, firstDelayMs: 1_000, maxDelayMs: 30_000, forgetMs: 900_000, maxKeys: 100 }
  const world = servers(2, () => now)
  const [one, two] = world.map(({ limits }) => new SignInLimits({ pair, account: { burst: 5, perMinute: 6, maxKeys: 100 } }, () => now, limits)) as [SignInLimits, SignInLimits]
  one.succeeded('alice', 'home')
  t.ok(two.knows('alice', 'home'))
  for (let i = 0; i < 4; i++) (i % 2 === 0 ? one : two).failed('alice', 'elsewhere')
  for (const server of [one, two]) t.equal(server.waitMs('alice', 'elsewhere'), 1_000)
  for (let i = 0; i < 5; i++) two.failed('alice', `stranger ${i}`)
  two.failed('alice', 'home')
  for (const server of [one, two]) t.equal(server.waitMs('alice', 'home'), 0, 'who is known is not slowed by strangers')
  now += 1_000
  t.ok(one.waitMs('alice', 'stranger 1') > 0)
  const before = world[1]?.told.length
  two.succeeded('alice', 'home')
  t.equal(one.waitMs('alice', 'home'), 0)
  t.equal(world[1]?.told.length, (before ?? 0) + 1, 'told: there had been a failure')
  two.succeeded('alice', 'home')
  t.equal(world[1]?.told.length, (before ?? 0) + 1, 'not told: that is known')
  one.forget('alice')
  t.notOk(two.knows('alice', 'home'))
})
