/** Warm-up and measurement of the scenarios that count deliveries a second. */
import type { Receiver } from '../load.ts'
import { Meter, wait } from '../meter.ts'
import type { Usage } from '../meter.ts'
import type { RunningPeer } from '../peers/peer.ts'
import type { Settings } from './scenario.ts'

/** Counts at the receivers, as they read from their sockets. */
function count (receivers: readonly Receiver[]) {
  let [messages, bytes, reads] = [0, 0, 0]
  for (const { received, connection } of receivers) {
    messages += received
    bytes += connection.bytesRead
    reads += connection.reads
  }
  return { messages, bytes, reads }
}

/** Warms up, measures; the load goes on by itself meanwhile. */
export async function measureRate (running: RunningPeer, settings: Settings, receivers: readonly Receiver[]): Promise<{ metrics: Record<string, number>, usage: Usage }> {
  await wait(settings.warmUpSeconds * 1000)
  const from = count(receivers)
  const meter = new Meter(running.process, settings, running.database?.process)
  await wait(settings.seconds * 1000)
  const usage = meter.read()
  const to = count(receivers)
  const messages = to.messages - from.messages
  return {
    usage,
    metrics: {
      deliveries_per_s: messages / usage.seconds,
      deliveries_per_cpu_s: messages / usage.seconds / usage.brokerCpu,
      deliveries_per_read: messages / (to.reads - from.reads),
      bytes_per_delivery: (to.bytes - from.bytes) / messages,
      rss_mb: running.process.rssBytes() / 1e6
    }
  }
}
