/**
 * `pairs` with more and more messages under way, and nobody waits for receivers: senders publish whenever they have a PUBACK. A broker at its
 * limit keeps its rate whatever the window, delivers as much as it takes, and is level with its senders soon after they stop.
 */
import { Latencies, Meter, wait } from '../meter.ts'
import type { RunningPeer } from '../peers/peer.ts'
import { openPairs, settle } from './pairs.ts'
import type { Pairs } from './pairs.ts'
import { generatorLimit, round, until } from './scenario.ts'
import type { Scenario, Settings } from './scenario.ts'

/** What is behind when the senders stop is waited for this long. */
const levelMs = 60_000
const sampleMs = 100

interface Sums { published: number, received: number }

function sums ({ publishers, receivers }: Pairs): Sums {
  let [published, received] = [0, 0]
  for (const { acked } of publishers) published += acked
  for (const receiver of receivers) received += receiver.received
  return { published, received }
}

/** Publishes whenever there is room; from the send to the arrival of each message. `stop` ends it. */
function flood ({ publishers, receivers }: Pairs): { latencies: Latencies, measure (): void, stop (): void } {
  let on = true
  let measured = Infinity
  const latencies = new Latencies(100_000)
  publishers.forEach((publisher, index) => {
    const receiver = receivers[index]
    if (receiver === undefined) return
    /** When the messages up to a number were sent, of those that have not arrived. */
    let sent: Array<{ upTo: number, at: number }> = []
    let first = 0
    const refill = (): void => {
      if (!on || publisher.room === 0) return
      publisher.send(publisher.room)
      sent.push({ upTo: publisher.published, at: performance.now() })
    }
    publisher.connection.onRead = refill
    receiver.onMessage = () => {
      const { counter } = receiver.stamp
      while ((sent[first]?.upTo ?? Infinity) < counter) first++
      const at = sent[first]?.at ?? Infinity
      if (at >= measured) latencies.add(performance.now() - at)
      if (first > 10_000) {
        sent = sent.slice(first)
        first = 0
      }
    }
    refill()
  })
  return { latencies, measure () { measured = performance.now() }, stop () { on = false } }
}

async function one (pairs: Pairs, running: RunningPeer, settings: Settings): Promise<{ metrics: Record<string, number>, limit: string | undefined }> {
  const { latencies, measure, stop } = flood(pairs)
  await wait(settings.warmUpSeconds * 1000)
  measure()
  const from = sums(pairs)
  const meter = new Meter(running.process, settings)
  let rss = 0
  const sampler = setInterval(() => { rss = Math.max(rss, running.process.rssBytes()) }, sampleMs)
  await wait(settings.seconds * 1000)
  clearInterval(sampler)
  const usage = meter.read()
  const to = sums(pairs)
  stop()
  const stoppedAt = performance.now()
  await until(() => { const { published, received } = sums(pairs); return received >= published && pairs.publishers.every(({ room, window }) => room === window) }, levelMs)
  const { p50, p99 } = { p50: latencies.summary('x')['x_p50_ms'] ?? NaN, p99: latencies.summary('x')['x_p99_ms'] ?? NaN }
  return {
    limit: generatorLimit(usage),
    metrics: {
      published_per_s: (to.published - from.published) / usage.seconds,
      delivered_per_s: (to.received - from.received) / usage.seconds,
      delivered_per_cpu_s: (to.received - from.received) / (usage.seconds * usage.brokerCpu),
      p50_ms: p50,
      p99_ms: p99,
      level_ms: performance.now() - stoppedAt,
      rss_mb: rss / 1e6
    }
  }
}

export const overload: Scenario = {
  name: 'overload',
  headline: 'worst_of_best',
  better: 'higher',
  describe: s => `${s.pairs} pairs as pairs, windows ${s.windows.join(', ')}, and nobody waits for receivers`,
  async run (peer, running, settings) {
    const metrics: Record<string, number> = {}
    const delivered: number[] = []
    const perCpu: number[] = []
    const level: number[] = []
    const limits: string[] = []
    for (const window of settings.windows) {
      const pairs = await openPairs(peer, running.port, settings, window)
      const { metrics: found, limit } = await one(pairs, running, settings)
      const fault = pairs.lost() ?? await settle(pairs.publishers, pairs.receivers, 1)
      await pairs.close()
      if (fault !== undefined) return round(metrics, undefined, `with a window of ${window}: ${fault}`)
      if (limit !== undefined) limits.push(`with a window of ${window}: ${limit}`)
      for (const [name, figure] of Object.entries(found)) metrics[`${window}_${name}`] = figure
      delivered.push(found['delivered_per_s'] as number)
      perCpu.push(found['delivered_per_cpu_s'] as number)
      level.push((found['delivered_per_s'] as number) / (found['published_per_s'] as number))
    }
    const worst = Math.min(...delivered)
    return round({ worst_of_best: worst / Math.max(...delivered), worst_of_best_per_cpu_s: Math.min(...perCpu) / Math.max(...perCpu), delivered_of_published: Math.min(...level), worst_delivered_per_s: worst, ...metrics }, undefined, undefined,
      limits.length > 0 ? limits.join('; ') : undefined)
  }
}
