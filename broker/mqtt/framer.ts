import { ProtocolError, malformed, reasonCodes, violation } from './protocol-error.ts'

/**
 * Gets one whole packet: `first` is its first byte, the body (all after the fixed header) is `buf[start, end)`, the packet with
 * its fixed header `buf[frameStart, end)`. `buf` is never written to again by the framer, so views of it may be kept.
 */
export type FrameSink = (first: number, buf: Buffer, start: number, end: number, frameStart: number) => void

/** What is wrong with a first byte: [MQTT-2.2.2-2] of 3.1.1, [MQTT-2.1.3-1] of 5, [MQTT-3.3.1-4]. */
const fine = 0
const reservedType = 1
const serverOnly = 2
const wrongFlags = 3
const wrongQos = 4
const verdicts = new Uint8Array(256)
for (let first = 0; first < 256; first++) {
  const type = first >> 4
  const flags = first & 0x0f
  if (type === 0) verdicts[first] = reservedType
  else if (type === 2 || type === 9 || type === 11 || type === 13) verdicts[first] = serverOnly
  else if (type === 3) verdicts[first] = (flags & 6) === 6 ? wrongQos : fine
  else verdicts[first] = flags === (type === 6 || type === 8 || type === 10 ? 2 : 0) ? fine : wrongFlags
}

const pingreq = 0xc0
const smallestAssembly = 256
/** What is kept of a PUBLISH that is skipped: the longest topic with its length, and the packet id. */
const skippedHeadBytes = 2 + 65_535 + 2

/**
 * Cuts the byte stream of one client into packets. A packet inside one chunk is not copied; one that comes in pieces is put together in
 * a buffer that grows with what really arrived, at most twice that, so a claimed length costs nothing.
 *
 * `feed` and `resume` throw `ProtocolError` for a packet type or flags that no client may send, a remaining length that is not
 * encoded in the fewest bytes ([MQTT-1.5.5-1]; "a single byte for values up to 127", 3.1.1 section 2.2.3) or in more than four, a
 * PINGREQ with a body, and a packet over `maxPacketBytes` (0x95), each as soon as the byte that tells is there. The framer is closed then:
 * it holds nothing and ignores what comes. What the sink throws passes through; the bytes after that packet are kept for the next call.
 * Packets of type AUTH pass: whether the version has them is the caller's to know.
 */
export class Framer {
  /** Bytes of the largest packet, its fixed header included; read when a packet's length is known, may change at any time. */
  maxPacketBytes: number
  /**
   * A PUBLISH over `maxPacketBytes` does not close the framer: its payload is dropped as it comes, and when all of it has come the sink
   * gets what is in front of the payload (and no more than a beginning of that), with `cutBytes` set.
   */
  skips = false
  /** While the sink has a PUBLISH that was skipped: the bytes of the whole packet. */
  cutBytes = 0
  /** What was kept of it, and how much of it is to come. */
  #head: Buffer | undefined
  #rest = 0
  #afterHead = 0
  #paused = false
  #running = false
  #closed = false
  /** Whole chunks that wait while paused, oldest first. */
  #waiting: Buffer[] = []
  #waitingBytes = 0
  /** The fixed header of the packet under way: bytes read so far, and what they said. */
  #first = 0
  #headerBytes = 0
  #remaining = 0
  /** Of the packet under way, fixed header included; 0 until the header is complete. */
  #totalBytes = 0
  #assembly: Buffer | undefined
  #assembledBytes = 0

  constructor (limits: { maxPacketBytes: number }) {
    this.maxPacketBytes = limits.maxPacketBytes
  }

  get paused (): boolean { return this.#paused }
  /** A PUBLISH is being skipped. */
  get skipping (): boolean { return this.#rest > 0 }
  /** True after a fault or `close`. */
  get closed (): boolean { return this.#closed }
  /** Bytes that arrived and were not handed out. */
  get pendingBytes (): number { return this.#waitingBytes + (this.#assembly === undefined ? this.#headerBytes : this.#assembledBytes) }
  /** Bytes of memory held for them. */
  get allocatedBytes (): number { return this.#waitingBytes + (this.#assembly === undefined ? 0 : this.#assembly.length) }

  /** Takes what the socket gave. While paused, it is only kept (stop reading the socket, or this grows). */
  feed (chunk: Buffer, sink: FrameSink): void {
    if (this.#closed || chunk.length === 0) return
    if (this.#paused || this.#running || this.#waiting.length > 0) {
      this.#waiting.push(chunk)
      this.#waitingBytes += chunk.length
    } else {
      this.#consume(chunk, sink)
    }
    if (this.#waiting.length > 0) this.#drain(sink)
  }

  /** No packet is handed out until `resume`; may be called by the sink. */
  pause (): void { this.#paused = true }

  /** Hands out what is kept, then goes on as before. */
  resume (sink: FrameSink): void {
    this.#paused = false
    this.#drain(sink)
  }

  /** Drops everything; the framer ignores what comes after. */
  close (): void {
    this.#closed = true
    this.#waiting = []
    this.#waitingBytes = 0
    this.#forget()
  }

  #drain (sink: FrameSink): void {
    while (!this.#paused && !this.#running) {
      const chunk = this.#waiting.shift()
      if (chunk === undefined) return
      this.#waitingBytes -= chunk.length
      this.#consume(chunk, sink)
    }
  }

  #consume (chunk: Buffer, sink: FrameSink): void {
    const length = chunk.length
    let at = 0
    this.#running = true
    try {
      while (at < length && !this.#paused && !this.#closed) {
        if (this.#rest > 0) {
          const dropped = Math.min(this.#rest, length - at)
          at += dropped
          this.#rest -= dropped
          if (this.#rest === 0) this.#handOutHead(sink)
          continue
        }
        if (this.#assembly === undefined) {
          const frameStart = at
          const fresh = this.#headerBytes === 0
          at = this.#readHeader(chunk, at)
          if (this.#totalBytes === 0) return
          const end = at + this.#remaining
          if (fresh && end <= length) {
            const first = this.#first
            const start = at
            at = end
            this.#headerBytes = this.#totalBytes = 0
            if (this.#afterHead > 0) this.#skip(Buffer.from(chunk.subarray(start, end)))
            else sink(first, chunk, start, end, frameStart)
            continue
          }
          this.#assembly = this.#begin(length - at)
        }
        const end = Math.min(length, at + this.#totalBytes - this.#assembledBytes)
        const assembly = this.#collect(this.#assembly, chunk, at, end)
        at = end
        if (this.#assembledBytes < this.#totalBytes) return
        const first = this.#first
        const start = this.#headerBytes
        this.#forget()
        if (this.#afterHead > 0) this.#skip(assembly.subarray(start))
        else sink(first, assembly, start, assembly.length, 0)
      }
    } finally {
      this.#running = false
      if (at < length && !this.#closed) {
        this.#waiting.unshift(chunk.subarray(at))
        this.#waitingBytes += length - at
      }
    }
  }

  /** Reads fixed header bytes; `#totalBytes` is set when they are complete. Returns where it stopped. */
  #readHeader (chunk: Buffer, at: number): number {
    if (this.#headerBytes === 0) {
      const first = chunk[at++] as number
      if (verdicts[first] !== fine) throw this.#refuse(headerFault(first))
      this.#first = first
      this.#headerBytes = 1
      this.#remaining = 0
    }
    while (at < chunk.length) {
      const byte = chunk[at++] as number
      const place = this.#headerBytes++ - 1
      this.#remaining += (byte & 0x7f) << (7 * place)
      if (byte >= 0x80) {
        if (place === 3) throw this.#refuse(malformed('the remaining length is longer than four bytes'))
        continue
      }
      if (byte === 0 && place > 0) throw this.#refuse(malformed('the remaining length is not encoded in the fewest bytes'))
      if (this.#first === pingreq && byte !== 0) throw this.#refuse(malformed('a PINGREQ has no body'))
      const totalBytes = this.#headerBytes + this.#remaining
      if (totalBytes > this.maxPacketBytes && this.skips && this.#first >> 4 === 3) {
        this.cutBytes = totalBytes
        this.#afterHead = Math.max(1, this.#remaining - skippedHeadBytes)
        this.#remaining -= this.#afterHead
        this.#totalBytes = this.#headerBytes + this.#remaining
        break
      }
      if (totalBytes > this.maxPacketBytes) {
        throw this.#refuse(new ProtocolError(`a packet of ${totalBytes} bytes is over the limit of ${this.maxPacketBytes}`, reasonCodes.packetTooLarge))
      }
      this.#totalBytes = totalBytes
      break
    }
    return at
  }

  /** A buffer for the packet under way with its fixed header in it; `bodyBytes` of the body are at hand, or more than it has. */
  #begin (bodyBytes: number): Buffer {
    const assembly = Buffer.allocUnsafe(Math.min(this.#totalBytes, Math.max(smallestAssembly, 2 * (this.#headerBytes + bodyBytes))))
    assembly[0] = this.#first
    for (let place = 1, rest = this.#remaining; place < this.#headerBytes; place++, rest >>= 7) {
      assembly[place] = place === this.#headerBytes - 1 ? rest : (rest & 0x7f) | 0x80
    }
    this.#assembledBytes = this.#headerBytes
    return assembly
  }

  #collect (assembly: Buffer, chunk: Buffer, at: number, end: number): Buffer {
    const needed = this.#assembledBytes + end - at
    let target = assembly
    if (needed > assembly.length) {
      target = Buffer.allocUnsafe(Math.min(this.#totalBytes, Math.max(needed, 2 * assembly.length)))
      assembly.copy(target, 0, 0, this.#assembledBytes)
      this.#assembly = target
    }
    chunk.copy(target, this.#assembledBytes, at, end)
    this.#assembledBytes = needed
    return target
  }

  /** The head of a PUBLISH is here: what comes behind it is dropped. */
  #skip (head: Buffer): void {
    this.#head = head
    this.#rest = this.#afterHead
    this.#afterHead = 0
  }

  #handOutHead (sink: FrameSink): void {
    const head = this.#head as Buffer
    this.#head = undefined
    try {
      sink(this.#first, head, 0, head.length, 0)
    } finally {
      this.cutBytes = 0
    }
  }

  #forget (): void {
    this.#assembly = undefined
    this.#headerBytes = this.#totalBytes = this.#assembledBytes = 0
  }

  #refuse (error: ProtocolError): ProtocolError {
    this.close()
    return error
  }
}

function headerFault (first: number): ProtocolError {
  switch (verdicts[first]) {
    case reservedType: return malformed(`packet type ${first >> 4} is reserved`)
    case serverOnly: return violation(`only a server sends packets of type ${first >> 4}`)
    case wrongQos: return malformed('there is no QoS 3')
    default: return malformed(`a packet of type ${first >> 4} must not have the flags ${first & 0x0f}`)
  }
}
