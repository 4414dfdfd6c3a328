/** Says up to when all that was stamped has been said (output `whole`), for an engine that is alone: by that readers without a session go on where they were. */
import type { Output } from '../../link/port.ts'
import type { EngineHost } from '../host.ts'

/** Milliseconds between two words of it. */
const everyMs = 1000
/** From being stamped to the queue of the committer: what is made of several rows takes a moment. */
const underWayMs = 1000
/** A database on the network may store so late what it was sent. */
const lateInsertMs = 15_000

interface Engine { readonly others?: unknown, output (outputs: Output[]): void }

/** Begins to say it; `oldest`: when the oldest of what is not said was stamped. Returns what ends it. Where there are others, what carries outputs between them says it. */
export function sayWhole (engine: Engine, { now, store }: Pick<EngineHost, 'now' | 'store'>, committer: { readonly oldest: number }): () => void {
  if (engine.others !== undefined) return () => {}
  const lagMs = underWayMs + (store.nodes.self === undefined ? 0 : lateInsertMs)
  const timer = setInterval(() => { engine.output([{ kind: 'whole', upTo: Math.min(now(), committer.oldest) - lagMs }]) }, everyMs)
  timer.unref()
  return () => { clearInterval(timer) }
}
