/** One device is away while its ordinary topics go on: memory while messages are queued for it, over a restart, and while it takes them. */
import { Connection } from '../connection.ts'
import { sabethesOrdinary } from '../peers/sabethes-ordinary.ts'
import { publish } from '../wire.ts'
import { publishEach, withoutOthers } from './ordinary.ts'
import { round, until } from './scenario.ts'
import type { Scenario } from './scenario.ts'

const topic = 'plant/1/commands'

export const offlineQueue: Scenario = {
  name: 'offline-queue',
  headline: 'rss_queueing_growth_mb',
  better: 'lower',
  extra: [sabethesOrdinary],
  without: withoutOthers(),
  describe: s => `${s.depth} messages on ordinary topics for one session that is away, then a restart where they are kept, then it takes them: RSS and rates`,
  async run (_peer, running, settings) {
    const { depth, payloadBytes } = settings
    const device = { user: 'device', clean: false }
    const first = await Connection.open({ port: running.port, ...device })
    await first.subscribe([topic])
    await first.close()
    const publisher = await Connection.open({ port: running.port, user: 'sender' })
    const payload = Buffer.alloc(payloadBytes)
    const send = (index: number, id: number): Buffer => {
      payload.writeUInt32BE(index)
      return publish(topic, payload, id)
    }
    // Code and pools are not counted as messages.
    const rehearsal = Math.ceil(depth / 20)
    await publishEach(publisher, rehearsal, send, () => {})
    const before = await running.process.settledRssBytes()
    let peak = before
    const queueing = await publishEach(publisher, depth, (index, id) => send(index + rehearsal, id), () => { peak = Math.max(peak, running.process.rssBytes()) })
    const queued = await running.process.settledRssBytes()
    await publisher.close()
    const metrics: Record<string, number> = {
      rss_before_mb: before / 1e6,
      rss_queueing_peak_mb: peak / 1e6,
      rss_queueing_growth_mb: (queued - before) / 1e6,
      queued_per_s: depth / queueing
    }
    if (running.restart !== undefined) metrics['restart_ms'] = await running.restart()
    const calm = await running.process.settledRssBytes()
    let [next, wrong, draining] = [0, 0, calm]
    const start = performance.now()
    const back = await Connection.open({
      port: running.port,
      ...device,
      prepare: connection => { connection.onPublish = (data, at) => { if (data.readUInt32BE(at) !== next++) wrong++ } }
    })
    const whole = await until(() => {
      draining = Math.max(draining, running.process.rssBytes())
      return next >= rehearsal + depth
    }, 20_000, () => next)
    const seconds = (performance.now() - start) / 1000
    back.destroy()
    const fault = whole && wrong === 0 ? undefined : `${next} of ${rehearsal + depth} came, ${wrong} out of order`
    return round({ ...metrics, rss_calm_mb: calm / 1e6, rss_draining_peak_mb: draining / 1e6, drained_per_s: next / seconds }, undefined, fault)
  }
}
