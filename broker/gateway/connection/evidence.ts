/**
 * Which answers of one connection its client is known to have (ADR 4). Publishes are numbered from 1 in the order in which
 * they came; their answers (PUBACK, PUBREC) are written in that order too, and TCP keeps it. So whatever shows that one of
 * them arrived shows it of all before it. A wrong guess that an answer arrived costs a repeated message at most, one that it
 * did not could cost a message: where the client cannot be expected to go on without an answer, it counts as arrived.
 */
const pageSize = 256

export class Evidence {
  /** Publishes so far, answered so far, and the last one whose answer is known to have arrived. */
  number = 0
  answered = 0
  proven = 0
  /** What was last told to the engine. */
  told = 0
  /** MQTT 5: the client has no more than this many publishes unanswered [MQTT-3.3.4-7]. */
  readonly #window: number
  /** The number of the last publish with each packet id, 0 when there is none: pages of 256 packet ids, made when they are needed. */
  readonly #pages: Array<Uint32Array | undefined> = []
  #pinged = 0

  constructor (window: number) { this.#window = window }

  /** A PUBLISH at QoS 1 or 2; returns its number. Without DUP its packet id was free: the answer to an earlier use of it arrived. */
  publish (packetId: number, dup: boolean): number {
    const page = this.#pages[packetId >> 8] ??= new Uint32Array(pageSize)
    const at = packetId & 0xff
    if (!dup) this.arrived(page[at] as number)
    page[at] = ++this.number
    if (this.number - this.#window > this.proven) this.arrived(this.number - this.#window)
    return this.number
  }

  /** Another packet of the client has this packet id, or it ends the exchange (PUBREL). */
  reuse (packetId: number): void {
    const page = this.#pages[packetId >> 8]
    if (page === undefined) return
    this.arrived(page[packetId & 0xff] as number)
    page[packetId & 0xff] = 0
  }

  /**
   * A PINGREQ. Who sends another one is taken to have the answer to the last: a client without it closes the connection
   * (section 3.1.2.10). It need not, and then its QoS 1 messages are repeated, which QoS 1 allows; while a QoS 2 publish is
   * `unfinished` the answers so far are not counted on: its PUBREL will say.
   */
  ping (unfinished: boolean): void {
    this.arrived(this.#pinged)
    if (!unfinished) this.#pinged = this.answered
  }

  /** The client has the answers up to this number; numbers that are not answered yet say nothing. */
  arrived (number: number): void {
    if (number > this.proven && number <= this.answered) this.proven = number
  }
}
