/**
 * Chat between users who do no harm, while others attack the same server, one way after the other: latencies beside those of the
 * quiet server, and the server's memory before, at its peak, and some time after the attackers have left.
 */
import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { attacks } from '../hostile/attacks.ts'
import type { AttackerData } from '../hostile/attacker.ts'
import { Meter, wait } from '../meter.ts'
import { sabethesHostile } from '../peers/sabethes-hostile.ts'
import type { RunningPeer } from '../peers/peer.ts'
import { Pacer } from './pacer.ts'
import type { Phase } from './pacer.ts'
import { openPairs, settle } from './pairs.ts'
import { round, withoutPlain } from './scenario.ts'
import type { Scenario } from './scenario.ts'

const victims = 20
/** Messages a second over all pairs. */
const rate = 200
/** Enough for a server that stops for minutes. */
const window = 4000
const sampleMs = 100
const notComparable = 'requests and limits are Sabethes\' own'

/** Runs one attack; resolves when its connections are gone. `begun` is called when they are open. */
async function strike (data: AttackerData, begun: () => void): Promise<void> {
  const attacker = fork(fileURLToPath(new URL('../hostile/attacker.js', import.meta.url)), [JSON.stringify(data)])
  await new Promise<void>((resolve, reject) => {
    attacker.on('message', () => { begun() })
    attacker.once('error', reject)
    attacker.once('exit', code => { if (code === 0) resolve(); else reject(new Error(`the attacker ended with ${code}`)) })
  })
}

/** The highest memory seen, looked at every 100 ms until `stop`. */
function watchRss (running: RunningPeer): { peak: () => number, stop: () => void } {
  let peak = 0
  const look = (): void => { if (!running.process.ended) peak = Math.max(peak, running.process.rssBytes()) }
  look()
  const timer = setInterval(look, sampleMs)
  return { peak: () => peak, stop: () => { clearInterval(timer) } }
}

const megabytes = (bytes: number): number => bytes / 1e6

export const hostile: Scenario = {
  name: 'hostile',
  headline: 'worst_p99_of_quiet',
  better: 'lower',
  reference: 'sabethes-shipped',
  extra: [sabethesHostile],
  without: { sabethes: 'its limits are out of the bench\'s way', ...withoutPlain(notComparable) },
  describe: s => `${victims} pairs at ${rate} messages/s together, limits as shipped, beside each attack for ${s.attackSeconds} s; PUBACK latency of the pairs during it (and in the ${s.recoverySeconds} s after it), memory before, at its peak and ${s.recoverySeconds} s after the attackers left`,
  async run (peer, running, settings) {
    const chosen = settings.attacks === undefined ? attacks : attacks.filter(one => settings.attacks?.includes(one.name))
    const pairs = await openPairs(peer, running.port, { ...settings, pairs: victims }, window)
    const pacer = new Pacer(pairs, rate, true)
    let ended = false
    const done = pacer.run(() => ended ? 0 : Infinity)
    await wait(settings.warmUpSeconds * 1000)
    const meter = new Meter(running.process, settings)
    const phases: Array<[string, Phase]> = [['quiet', pacer.phase(performance.now())]]
    await wait(settings.seconds * 1000)
    const metrics: Record<string, number> = {}
    for (const { name } of chosen) {
      metrics[`${name}_rss_before_mb`] = megabytes(running.process.rssBytes())
      const memory = watchRss(running)
      try {
        await strike({ port: running.port, attack: name, seconds: settings.attackSeconds }, () => { phases.push([name, pacer.phase(performance.now())]) })
        phases.push([`${name}_after`, pacer.phase(performance.now())])
        await wait(settings.recoverySeconds * 1000)
      } finally {
        memory.stop()
      }
      metrics[`${name}_rss_peak_mb`] = megabytes(memory.peak())
      metrics[`${name}_rss_after_mb`] = megabytes(running.process.rssBytes())
    }
    ended = true
    const usage = meter.read()
    await done
    const fault = pairs.lost() ?? await settle(pairs.publishers, pairs.receivers, 1)
    await pairs.close()
    const quiet = phases[0]?.[1].puback.summary('quiet')['quiet_p99_ms'] as number
    let worst = 0
    for (const [name, { puback }] of phases) {
      const summary = puback.summary(name)
      for (const metric of [`${name}_p50_ms`, `${name}_p99_ms`]) metrics[metric] = summary[metric] as number
      worst = Math.max(worst, (summary[`${name}_p99_ms`] as number) / quiet)
    }
    return round({ ...metrics, worst_p99_of_quiet: worst }, { ...usage, generatorCpu: Number.NaN }, fault)
  }
}
