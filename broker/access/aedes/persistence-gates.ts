/** Holds back live messages of a session that is coming back until its stored ones are sent [MQTT-4.6.0-6]. */
import type { EventEmitter } from 'node:events'

/** The members of an Aedes client that the persistence reads. */
export interface ClientLike { id: string, clean?: boolean, closed?: boolean, conn?: EventEmitter | null }

interface Gate { waiting: Map<object, () => void>, watched: WeakSet<object>, due: Set<object>, read: boolean }

/**
 * A gate is shut from the look-up of a session's subscriptions at CONNECT until all of its queue was handed to the socket; a
 * stream's end alone is too early, as its reader has a buffer.
 */
export class StreamGates {
  readonly #gates = new Map<string, Gate>()

  has (client: string): boolean { return this.#gates.has(client) }

  shut (client: string): void {
    this.open(client)
    this.#gates.set(client, { waiting: new Map(), watched: new WeakSet(), due: new Set(), read: false })
  }

  /** Lets everything go on, in order. */
  open (client: string): void {
    const gate = this.#gates.get(client)
    if (gate === undefined) return
    this.#gates.delete(client)
    for (const resolve of gate.waiting.values()) resolve()
  }

  isWaiting (client: string, entry: object): boolean { return this.#gates.get(client)?.waiting.has(entry) === true }

  /** Resolves when a live message may be sent: at once for one that the stream itself sends. */
  wait (client: ClientLike, entry: { streamed?: boolean }): Promise<void> | undefined {
    const gate = this.#gates.get(client.id)
    if (gate === undefined || entry.streamed === true || client.closed === true) return undefined
    if (client.conn != null && !gate.watched.has(client.conn)) {
      gate.watched.add(client.conn)
      client.conn.once('close', () => { if (this.#gates.get(client.id) === gate) this.open(client.id) })
    }
    return new Promise(resolve => { gate.waiting.set(entry, resolve) })
  }

  /** The stream hands out `entry`. */
  expect (client: string, entry: object): void { this.#gates.get(client)?.due.add(entry) }

  /** Aedes sends `entry` now, or it is gone. */
  passed (client: string, entry: object): void {
    const gate = this.#gates.get(client)
    if (gate?.due.delete(entry) === true) this.#openWhenSent(client, gate)
  }

  /** The stream has no more. */
  ended (client: string): void {
    const gate = this.#gates.get(client)
    if (gate === undefined) return
    gate.read = true
    this.#openWhenSent(client, gate)
  }

  #openWhenSent (client: string, gate: Gate): void {
    if (!gate.read || gate.due.size > 0) return
    // Aedes writes the last one in a microtask after `passed`.
    setImmediate(() => { if (this.#gates.get(client) === gate) this.open(client) })
  }
}
