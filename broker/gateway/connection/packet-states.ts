const pageSize = 256

/** A small number for each packet id of a connection, 0 at first: 256 bytes for every 256 ids that were in use, 64 kB at most. */
export class PacketStates {
  readonly #pages: Array<Uint8Array | undefined> = []
  #size = 0

  /** Packet ids whose state is not 0. */
  get size (): number { return this.#size }

  get (packetId: number): number { return this.#pages[packetId >> 8]?.[packetId & 0xff] ?? 0 }

  set (packetId: number, state: number): void {
    const page = this.#pages[packetId >> 8] ??= new Uint8Array(pageSize)
    const at = packetId & 0xff
    this.#size += (state === 0 ? 0 : 1) - (page[at] === 0 ? 0 : 1)
    page[at] = state
  }
}
