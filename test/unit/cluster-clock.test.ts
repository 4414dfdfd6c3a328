/** The time of a cluster, as one server sees it. */
import t from 'tap'
import { ClusterClock } from '../../broker/cluster/clock.ts'

/** A machine whose clock is `aheadMs` off, and Redis, whose clock is right; an answer takes `tookMs`. */
function machine (aheadMs: number) {
  const world = { now: 1_800_000_000_000, aheadMs, tookMs: 2 }
  const clock = new ClusterClock(() => world.now + world.aheadMs, () => world.now)
  const compare = async (): Promise<number> => {
    const { offsetMs } = await clock.compare(async () => {
      world.now += world.tookMs / 2
      const told = world.now
      world.now += world.tookMs / 2
      return told
    }, told => told)
    return offsetMs
  }
  return { world, clock, compare }
}

await t.test('a clock that is off by half a minute is put right', async t => {
  for (const aheadMs of [30_000, -30_000, 86_400_000]) {
    const { world, clock, compare } = machine(aheadMs)
    t.equal(clock.now() - world.now, aheadMs, 'before Redis was asked')
    t.equal(await compare(), -aheadMs)
    t.equal(clock.aheadMs, -aheadMs)
    t.equal(clock.now(), world.now)
    world.aheadMs = 0
    t.equal(await compare(), 0)
    t.equal(clock.aheadMs, 0, 'it was set')
  }
})

await t.test('small differences, and what a slow answer cannot tell, change nothing', async t => {
  const { world, clock, compare } = machine(800)
  t.equal(await compare(), -800)
  t.equal(clock.aheadMs, 0)
  world.aheadMs = 30_000
  await compare()
  world.aheadMs = 29_100
  t.equal(await compare(), -29_100)
  t.equal(clock.aheadMs, -30_000, 'time does not jitter')
  world.tookMs = 6_000
  world.aheadMs = 27_000
  await compare()
  t.equal(clock.aheadMs, -30_000, 'within what six seconds may hide')
  world.aheadMs = 20_000
  await compare()
  t.equal(clock.aheadMs, -20_000)
})

await t.test('without an answer it stays as it was', async t => {
  const { world, clock, compare } = machine(30_000)
  await compare()
  world.aheadMs = 0
  await t.rejects(clock.compare(() => Promise.reject(new Error('away')), Number), /away/)
  t.equal(clock.aheadMs, -30_000)
})
