/** Retained messages by the million on ordinary topics: memory, subscriptions with wildcards, the next one, and a start with all of them. */
import { Connection } from '../connection.ts'
import { Latencies } from '../meter.ts'
import { sabethesOrdinary } from '../peers/sabethes-ordinary.ts'
import { publish } from '../wire.ts'
import { publishEach, withoutOthers } from './ordinary.ts'
import { round, until } from './scenario.ts'
import type { Scenario } from './scenario.ts'

const groups = 1000
const asks = 50
const topicOf = (index: number) => `plant/${index % groups}/device/${index}/state`

function retained (topic: string, payload: Buffer, packetId: number): Buffer {
  const packet = publish(topic, payload, packetId)
  packet[0] = (packet[0] as number) | 1
  return packet
}

/** From the SUBSCRIBE to the last of `count` messages. */
async function subscribed (port: number, filter: string, count: number): Promise<number> {
  let got = 0
  const connection = await Connection.open({ port, user: 'reader' })
  connection.onPublish = () => { got++ }
  const start = performance.now()
  await connection.subscribe([filter])
  const whole = await until(() => got >= count, 20_000, () => got)
  const took = performance.now() - start
  connection.destroy()
  if (!whole || got > count) throw new Error(`${filter} brought ${got} of ${count}`)
  return took
}

export const retainedScenario: Scenario = {
  name: 'retained',
  headline: 'few_p50_ms',
  better: 'lower',
  extra: [sabethesOrdinary],
  without: withoutOthers(),
  describe: s => `${s.retained} retained messages of ${s.payloadBytes} bytes: RSS of each, +/x/device/y/# (one matches, ${asks} times), +/x/# (1 in ${groups} matches), the next ones, a start with them`,
  async run (_peer, running, settings) {
    const { retained: count, payloadBytes } = settings
    const payload = Buffer.alloc(payloadBytes, 'r')
    const before = await running.process.settledRssBytes()
    const publisher = await Connection.open({ port: running.port, user: 'sender' })
    let peak = 0
    const seconds = await publishEach(publisher, count, (index, id) => retained(topicOf(index), payload, id), () => { peak = Math.max(peak, running.process.rssBytes()) })
    const after = await running.process.settledRssBytes(60_000)
    const few = new Latencies(asks)
    const many = new Latencies(asks)
    for (let i = 0; i < asks; i++) {
      const index = Math.floor(i * count / asks)
      few.add(await subscribed(running.port, `+/${index % groups}/device/${index}/#`, 1))
    }
    for (let i = 0; i < 10; i++) many.add(await subscribed(running.port, `+/${i}/#`, Math.ceil((count - i) / groups)))
    const next = new Latencies(asks)
    for (let i = 0; i < asks; i++) next.add(1000 * await publishEach(publisher, 1, (_index, id) => retained(topicOf(i), payload, id), () => {}))
    await publisher.close()
    const metrics: Record<string, number> = {
      ...few.summary('few'),
      ...many.summary('many'),
      ...next.summary('next'),
      published_per_s: count / seconds,
      rss_per_message_bytes: (after - before) / count,
      rss_before_mb: before / 1e6,
      rss_peak_mb: peak / 1e6,
      rss_after_mb: after / 1e6
    }
    if (running.restart !== undefined) {
      metrics['restart_ms'] = await running.restart()
      metrics['rss_restarted_mb'] = await running.process.settledRssBytes() / 1e6
      await subscribed(running.port, '+/0/#', Math.ceil(count / groups))
    }
    return round(metrics)
  }
}
