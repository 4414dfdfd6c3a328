/** For tests of the back-pressure: a clock that is set by hand, and what a sender has had. */
import { bench, type MemoryClient } from './memory-client.ts'

export const window = 64

/** Packet ids of the answers that have arrived and were not taken. */
export function acked (client: MemoryClient): number[] {
  const taken = client.packets.waiting.filter(one => one.cmd === 'puback' || one.cmd === 'pubrec')
  for (const one of taken) client.packets.waiting.splice(client.packets.waiting.indexOf(one), 1)
  return taken.map(({ messageId }) => messageId as number)
}

/** With a clock that stands still everybody keeps pace. */
export function still (t: Parameters<typeof bench>[0], options: Parameters<typeof bench>[1] = {}): ReturnType<typeof bench> & { later (ms: number): void } {
  let now = 1_000_000
  const made = bench(t, { inflight: window, ...options }, undefined, [], undefined, false, () => now)
  return { ...made, later (ms) { now += ms } }
}
