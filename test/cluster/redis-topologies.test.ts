/** A Redis Cluster, and Sentinel: what servers say to each other comes in order, and goes on when a master has failed. */
import t from 'tap'
import type { Test } from 'tap'
import { pino } from 'pino'
import { connectRedis, whenReady } from '../../broker/cluster/redis.ts'
import type { RedisClient } from '../../broker/cluster/redis.ts'
import { RedisTransport } from '../../broker/cluster/transport.ts'
import { startCluster } from '../support/cluster.ts'
import { until } from '../support/mailbox.ts'
import { device } from '../support/mqtt.ts'
import { redisCluster, redisSentinel } from '../support/redis-topologies.ts'
import type { Topology } from '../support/redis-topologies.ts'

t.setTimeout(240_000)
const log = pino({ level: 'silent' })
const frames = 3_000

function transport (t: Test, url: string): { transport: RedisTransport, commands: RedisClient } {
  const [commands, subscriber] = [connectRedis({ url, timeoutMs: 1_000, log }, 'commands'), connectRedis({ url, timeoutMs: 1_000, log }, 'subscriber')]
  const made = new RedisTransport({ commands, subscriber, namespace: 'test', log })
  t.teardown(() => {
    made.close()
    commands.disconnect()
  })
  return { transport: made, commands }
}

const topologies: ReadonlyArray<[string, (t: Test) => Promise<Topology | undefined>]> = [['a Redis Cluster', redisCluster], ['Sentinel', redisSentinel]]
for (const [name, start] of topologies) {
  await t.test(`${name}: frames come in order, and again after a fail-over`, async t => {
    const topology = await start(t)
    if (topology === undefined) return
    const [from, to] = [transport(t, topology.url), transport(t, topology.url)]
    const heard: number[] = []
    to.transport.listen('there', frame => { heard.push(Number(frame)) })
    await Promise.all([whenReady(from.commands, 10_000), to.transport.ready(10_000)])
    // As a busy server does: not one by one.
    const sent: Array<Promise<void>> = []
    for (let i = 0; i < frames; i++) {
      sent.push(from.transport.publish('there', String(i)))
      if (i % 5 === 0) await new Promise(resolve => { setImmediate(resolve) })
    }
    await Promise.all(sent)
    await until(() => heard.length === frames, 10_000, 'all frames')
    t.ok(heard.every((frame, i) => frame === i), 'in order')
    await topology.failOver()
    heard.length = 0
    let last = frames
    await until(async () => {
      await from.transport.publish('there', String(++last)).catch((error: unknown) => { t.comment((error as Error).message) })
      return heard.length > 0
    }, 30_000, 'a frame after it')
  })

  await t.test(`${name}: messages cross between two servers while a master fails, and none is lost`, async t => {
    const topology = await start(t)
    if (topology === undefined) return
    const cluster = await startCluster(t, 2, { config: { cluster: { redis: topology.url } } })
    const [one, two] = cluster?.servers ?? []
    if (one === undefined || two === undefined) return
    const alice = await device(t, one.url, 'alice')
    const bob = await device(t, two.url, 'bob')
    await bob.subscribe('im/u/bob/inbox')
    const acknowledged: number[] = []
    const send = async (number: number): Promise<void> => {
      const { error } = await alice.publish('im/to/u/bob', { body: number })
      if (error === undefined) acknowledged.push(number)
    }
    for (let i = 1; i <= 20; i++) await send(i)
    const failing = topology.failOver()
    for (let i = 21; i <= 40; i++) await send(i)
    await failing
    for (let i = 41; i <= 60; i++) await send(i)
    t.equal(acknowledged.length, 60, 'none is refused')
    for (const number of acknowledged) t.match(JSON.parse((await bob.mail.take(() => true, 60_000, `message ${number}`)).text), { seq: number, body: number })
  })
}
