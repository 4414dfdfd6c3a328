/**
 * A fixed rate, sent on schedule whatever the broker does (open loop): latencies count from the moment a message was
 * due, so a broker that stalls pays for every message it delayed, not for one (coordinated omission).
 */
import { Latencies, Meter, wait } from '../meter.ts'
import type { Publisher } from '../load.ts'
import { openPairs, settle } from './pairs.ts'
import { round } from './scenario.ts'
import type { Scenario } from './scenario.ts'

/** Enough unacknowledged messages for a broker that stops for seconds. */
const window = 4000
/** The generator is late when it sends one of a hundred messages more than this after it was due. */
const lateMs = 1

export const paced: Scenario = {
  name: 'paced',
  headline: 'puback_p99_ms',
  better: 'lower',
  describe: s => `${s.rate} messages/s over ${s.pairs} pairs on schedule, ${s.payloadBytes} B ${s.body}; latency from the due time`,
  async run (peer, running, settings) {
    const { publishers, receivers, lost, close } = await openPairs(peer, running.port, settings, window)
    const { rate, pairs: count } = settings
    const capacity = Math.ceil(rate * settings.seconds) + 1000
    const [puback, delivery, late] = [new Latencies(capacity), new Latencies(capacity), new Latencies(capacity)]
    const start = performance.now() + 50
    const from = start + settings.warmUpSeconds * 1000
    const end = from + settings.seconds * 1000
    const msPerMessage = 1000 / rate
    const dueOf = (pair: number, counter: number) => start + ((counter - 1) * count + pair) * msPerMessage
    // One clock reading a read, not a message.
    publishers.forEach((publisher, pair) => {
      let seen = 0
      publisher.connection.onRead = () => {
        const now = performance.now()
        while (seen < publisher.acked) {
          const due = dueOf(pair, ++seen)
          if (due >= from && due < end) puback.add(now - due)
        }
      }
    })
    receivers.forEach((receiver, pair) => {
      receiver.onMessage = () => {
        const due = dueOf(pair, receiver.stamp.counter)
        if (due >= from && due < end) delivery.add(performance.now() - due)
      }
    })
    let meter: Meter | undefined
    await new Promise<void>(resolve => {
      let next = 0
      // setImmediate keeps the loop turning: a timer would be up to a millisecond late.
      const tick = () => {
        const now = performance.now()
        if (meter === undefined && now >= from) meter = new Meter(running.process, settings)
        for (;;) {
          const due = start + next * msPerMessage
          if (due >= end) return resolve()
          if (due > now) break
          const publisher = publishers[next % count] as Publisher
          if (publisher.room === 0) {
            if (now > end + 10_000) return resolve()
            break
          }
          publisher.send(1)
          if (due >= from) late.add(now - due)
          next++
        }
        setImmediate(tick)
      }
      tick()
    })
    const usage = meter?.read()
    const sent = publishers.reduce((sum, publisher) => sum + publisher.published, 0)
    const planned = Math.ceil((end - start) / msPerMessage - 1e-6)
    let fault = lost() ?? await settle(publishers, receivers, 1)
    if (sent < planned - 1) fault ??= `only ${sent} of ${planned} messages could be sent`
    await close()
    await wait(0)
    const lateness = late.summary('late')
    const lateP99 = lateness['late_p99_ms'] as number
    return round(
      { ...puback.summary('puback'), ...delivery.summary('delivery'), send_late_p99_ms: lateP99 },
      // The generator spins by design: its CPU says nothing here, its lateness does.
      usage === undefined ? undefined : { ...usage, generatorCpu: Number.NaN },
      fault,
      lateP99 > lateMs ? `one of a hundred messages was sent ${lateP99.toFixed(2)} ms late or more` : undefined)
  }
}
