/**
 * A fixed rate, sent on schedule whatever the broker does (open loop): latencies count from the moment a message was
 * due, so a broker that stalls pays for every message it delayed, not for one (coordinated omission).
 */
import { Meter, wait } from '../meter.ts'
import { Pacer } from './pacer.ts'
import { openPairs, settle } from './pairs.ts'
import { round } from './scenario.ts'
import type { Scenario } from './scenario.ts'

/** Enough unacknowledged messages for a broker that stops for seconds. */
export const pacedWindow = 4000
/** The generator is late when it sends one of a hundred messages more than this after it was due. */
const lateMs = 1
/** The same where it shares its core with a database. */
const sleepingLateMs = 5

export const paced: Scenario = {
  name: 'paced',
  headline: 'puback_p99_ms',
  better: 'lower',
  describe: s => `${s.rate} messages/s over ${s.pairs} pairs on schedule, ${s.payloadBytes} B ${s.body}; latency from the due time`,
  async run (peer, running, settings) {
    const pairs = await openPairs(peer, running.port, settings, pacedWindow)
    const { publishers, receivers, lost, close } = pairs
    const pacer = new Pacer(pairs, settings.rate, settings.sleeps)
    const from = pacer.start + settings.warmUpSeconds * 1000
    const end = from + settings.seconds * 1000
    const { puback, delivery, late } = pacer.phase(from)
    const done = pacer.run(() => end)
    await wait(from - performance.now())
    const meter = new Meter(running.process, settings, running.database?.process)
    await done
    const usage = meter.read()
    const planned = pacer.dueBefore(end)
    let fault = lost() ?? await settle(publishers, receivers, 1)
    if (pacer.sent < planned - 1) fault ??= `only ${pacer.sent} of ${planned} messages could be sent`
    await close()
    const lateness = late.summary('late')
    const lateP99 = lateness['late_p99_ms'] as number
    return round(
      { ...puback.summary('puback'), ...delivery.summary('delivery'), send_late_p99_ms: lateP99 },
      // The generator spins by design: its CPU says nothing here, its lateness does.
      { ...usage, generatorCpu: Number.NaN },
      fault,
      lateP99 > (settings.sleeps ? sleepingLateMs : lateMs) ? `one of a hundred messages was sent ${lateP99.toFixed(2)} ms late or more` : undefined)
  }
}
