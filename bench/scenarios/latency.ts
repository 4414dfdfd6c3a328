/** `paced` at one rate after the other: latency against offered load. `--plot` draws it. */
import { paced } from './paced.ts'
import { round } from './scenario.ts'
import type { Scenario } from './scenario.ts'

/** Messages a second. */
const rates: readonly number[] = [500, 1000, 2000, 5000, 10_000, 20_000]

export const latency: Scenario = {
  name: 'latency',
  headline: '10000_puback_p99_ms',
  better: 'lower',
  describe: s => `as paced, at ${rates.join(', ')} messages/s`,
  async run (peer, running, settings) {
    const metrics: Record<string, number> = {}
    const limits: string[] = []
    for (const rate of rates) {
      const one = await paced.run(peer, running, { ...settings, rate })
      if (one.fault !== undefined) return round(metrics, undefined, `at ${rate}/s: ${one.fault}`)
      if (one.limit !== undefined) limits.push(`at ${rate}/s: ${one.limit}`)
      for (const metric of ['puback_p50_ms', 'puback_p99_ms', 'delivery_p99_ms']) metrics[`${rate}_${metric}`] = one.metrics[metric] as number
    }
    return round(metrics, undefined, undefined, limits.length > 0 ? limits.join('; ') : undefined)
  }
}
