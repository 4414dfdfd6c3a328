/** Users come back to what waited for them: the rate from CONNECT to the last message, and what others feel of it. */
import { Connection } from '../connection.ts'
import { Publisher, Receiver, faults } from '../load.ts'
import { Meter, median, wait } from '../meter.ts'
import type { Peer } from '../peers/peer.ts'
import { Pacer } from './pacer.ts'
import type { Phase } from './pacer.ts'
import { pacedWindow } from './paced.ts'
import { openPairs, settle } from './pairs.ts'
import { generatorLimit, openMany, round, until } from './scenario.ts'
import type { Scenario, Settings } from './scenario.ts'

/** The pairs beside what is measured, and messages a second over all of them. Their connections are not those of the readers. */
export interface Bystanders { pairs: number, rate: number }
const bystanders: Bystanders = { pairs: 10, rate: 1000 }

/** Subscribes with a session that is kept, and leaves. */
export async function subscribeAndLeave (port: number, user: string, filters: readonly string[]): Promise<void> {
  const connection = await Connection.open({ port, user, clean: false })
  await connection.subscribe(filters)
  await connection.close()
}

/** Publishes until `count` messages are acknowledged; answers what went wrong. */
export async function publishAll (publisher: Publisher, count: number): Promise<string | undefined> {
  const refill = () => { publisher.send(count - publisher.published) }
  publisher.connection.onRead = refill
  refill()
  const whole = await until(() => publisher.acked >= count, 20_000, () => publisher.acked)
  return whole ? faults([publisher], []) : `${count - publisher.acked} of ${count} not acknowledged`
}

/** A user comes back and reads all; answers messages a second, or what went wrong. */
async function readAll (peer: Peer, port: number, user: string, waiting: number): Promise<number | string> {
  const receivers: Receiver[] = []
  let doneAt = 0
  const from = performance.now()
  const connection = await Connection.open({
    port,
    user,
    clean: false,
    prepare: opened => {
      const receiver = new Receiver(opened, peer.systemMark)
      receiver.onMessage = () => { if (receiver.received === waiting) doneAt = performance.now() }
      receivers.push(receiver)
    }
  })
  const received = () => receivers[0]?.received ?? 0
  const whole = await until(() => doneAt > 0, 20_000, received)
  await connection.close()
  const fault = faults([], receivers)
  if (fault !== undefined) return fault
  return whole ? waiting / (doneAt - from) * 1000 : `${user}: ${waiting - received()} of ${waiting} never arrived`
}

/** The bystanders' side: alone for a while, then for as long as `reading` takes. */
export async function beside (peer: Peer, port: number, settings: Settings, { pairs: count, rate }: Bystanders, reading: () => Promise<string | undefined>): Promise<{ alone: Phase, during: Phase, fault: string | undefined }> {
  const pairs = await openPairs(peer, port, { ...settings, pairs: count }, pacedWindow)
  const pacer = new Pacer(pairs, rate)
  let end = Number.POSITIVE_INFINITY
  const done = pacer.run(() => end)
  await wait(settings.warmUpSeconds * 1000)
  const alone = pacer.phase(performance.now())
  await wait(settings.seconds * 1000)
  const during = pacer.phase(performance.now())
  let fault: string | undefined
  try {
    fault = await reading()
  } finally {
    end = performance.now()
    await done
  }
  fault ??= pairs.lost() ?? await settle(pairs.publishers, pairs.receivers, 1)
  await pairs.close()
  return { alone, during, fault }
}

export const backlog: Scenario = {
  name: 'backlog',
  headline: 'deliveries_per_s',
  better: 'higher',
  without: { mochi: 'what waits for a session comes in no order' },
  describe: s => `${s.readers} users in turn come back to ${s.waiting} waiting messages each; median of them. Then as many again while ${bystanders.pairs} other pairs send ${bystanders.rate} messages/s on schedule: their delivery without and with it`,
  async run (peer, running, settings) {
    const { port } = running
    // Names that the bystanders do not have.
    const users = Array.from({ length: 2 * settings.readers }, (_, index) => `back${index}`)
    await openMany(users.length, index => subscribeAndLeave(port, users[index] as string, [peer.inbox(users[index] as string)]))
    let fault: string | undefined
    for (const [index, user] of users.entries()) {
      const publisher = new Publisher(await Connection.open({ port, user: `writer${index}` }), {
        topics: [peer.toUser(user)], stream: index, body: settings.body, payloadBytes: settings.payloadBytes, window: 100
      })
      fault ??= await publishAll(publisher, settings.waiting)
      await publisher.connection.close()
      if (fault !== undefined) return round({}, undefined, fault)
    }
    const read = async (some: readonly string[], rates: number[]): Promise<string | undefined> => {
      for (const user of some) {
        const rate = await readAll(peer, port, user, settings.waiting)
        if (typeof rate === 'string') return rate
        rates.push(rate)
      }
      return undefined
    }
    const [rates, disturbed]: [number[], number[]] = [[], []]
    const meter = new Meter(running.process, settings)
    fault = await read(users.slice(0, settings.readers), rates)
    const usage = meter.read()
    if (fault !== undefined) return round({}, usage, fault)
    const other = await beside(peer, port, settings, bystanders, () => read(users.slice(settings.readers), disturbed))
    const [alone, during] = [other.alone.delivery.summary('delivery'), other.during.delivery.summary('delivery')]
    const p99 = (summary: Record<string, number>) => summary['delivery_p99_ms'] as number
    const late = other.during.late.summary('late')['late_p99_ms'] as number
    const busy = late > p99(during) / 4
      ? `while it read the backlog it sent one of a hundred bystanders' messages ${late.toFixed(2)} ms late or more: bystander_with_* is its own in part`
      : undefined
    const limits = [generatorLimit(usage), busy].filter(limit => limit !== undefined)
    return round({
      deliveries_per_s: median(rates),
      deliveries_per_s_beside_bystanders: median(disturbed),
      bystander_without_p50_ms: alone['delivery_p50_ms'] as number,
      bystander_without_p99_ms: p99(alone),
      bystander_with_p50_ms: during['delivery_p50_ms'] as number,
      bystander_with_p99_ms: p99(during),
      bystander_p50_ratio: (during['delivery_p50_ms'] as number) / (alone['delivery_p50_ms'] as number),
      bystander_p99_ratio: p99(during) / p99(alone),
      bystander_messages: other.during.delivery.count,
      send_late_p99_ms: late,
      rss_mb: running.process.rssBytes() / 1e6
    }, usage, other.fault, limits.length > 0 ? limits.join('; ') : undefined)
  }
}
