/** Who sends a message to a session that comes back: the stream of stored messages or the live delivery; never both [MQTT-4.6.0-6]. */
import type { EventEmitter } from 'node:events'

/** The members of an Aedes client that the persistence reads. */
export interface ClientLike { id: string, clean?: boolean, closed?: boolean, conn?: EventEmitter & { /** resolves when there is room for one more */ room? (): Promise<void> | undefined, /** packet ids that are not answered */ inFlight?: ReadonlySet<number> } | null, _cleanStart?: boolean }

/** What the gates know of a queued message. */
interface Queued { seq: number, gone?: boolean, released: boolean }

interface Gate { end: number, due: Set<Queued>, read: boolean, open: boolean, watched: boolean, waiting: Array<() => void> }

/**
 * One gate for each connection. While the stream goes on all is the stream's; what comes behind its `end` then waits until all
 * of the stream's was handed to the socket. The stream's end alone is too early, as its reader has a buffer.
 */
export class StreamGates {
  readonly #gates = new WeakMap<object, Gate>()

  /** The stream of `client` begins. */
  shut (client: ClientLike): void {
    this.#gates.set(client, { end: 0, due: new Set(), read: false, open: false, watched: false, waiting: [] })
  }

  /** Shuts the gate for a stream that is to follow; false when one goes on, or is to come anyway. */
  fallBehind (client: ClientLike): boolean {
    const gate = this.#gates.get(client)
    if (gate === undefined ? client._cleanStart !== true : !gate.open) return false
    this.shut(client)
    return true
  }

  /** Lets everything go on, in order. */
  open (client: ClientLike): void {
    const gate = this.#gates.get(client)
    if (gate === undefined) {
      this.#gates.set(client, { end: 0, due: new Set(), read: true, open: true, watched: false, waiting: [] })
      return
    }
    gate.open = true
    for (const resolve of gate.waiting.splice(0)) resolve()
  }

  /** True when the stream sends message `seq`. One that has not begun sends whatever is queued by then. */
  leavesToStream (client: ClientLike, seq: number): boolean {
    const gate = this.#gates.get(client)
    if (gate === undefined) return client._cleanStart !== true
    return !gate.open && (!gate.read || seq < gate.end)
  }

  /** Resolves when message `seq` may be sent; `undefined`: at once. */
  wait (client: ClientLike, seq: number): Promise<void> | undefined {
    const gate = this.#gates.get(client)
    if (gate === undefined || gate.open || !gate.read || seq < gate.end || client.closed === true) return undefined
    if (client.conn != null && !gate.watched) {
      gate.watched = true
      client.conn.once('close', () => { this.open(client) })
    }
    return new Promise(resolve => { gate.waiting.push(resolve) })
  }

  /** The stream hands out `entry`. */
  expect (client: ClientLike, entry: Queued): void { this.#gates.get(client)?.due.add(entry) }

  /** Aedes sends `entry` now, or one that is gone or released. */
  passed (client: ClientLike, entry?: Queued): void {
    const gate = this.#gates.get(client)
    if (gate === undefined || gate.open) return
    if (entry !== undefined) gate.due.delete(entry)
    this.#openWhenSent(client, gate)
  }

  /** The stream has no more: it sent what is queued below number `end`. */
  ended (client: ClientLike, end: number): void {
    const gate = this.#gates.get(client)
    if (gate === undefined) return
    gate.read = true
    gate.end = end
    this.#openWhenSent(client, gate)
  }

  #openWhenSent (client: ClientLike, gate: Gate): void {
    if (!gate.read) return
    for (const entry of gate.due) if (entry.gone === true || entry.released) gate.due.delete(entry)
    if (gate.due.size > 0) return
    // Aedes writes the last one in a microtask after `passed`.
    setImmediate(() => { if (this.#gates.get(client) === gate) this.open(client) })
  }
}
