/**
 * What a message says: `seq=0000000042/00007 xxxx…`, a counter and the number of its stream. The receiver finds it by
 * the marker wherever the broker put it: as it was sent, or inside an envelope.
 */

/** `text` sends the body as it is, `json` an object with the body, `cid` an object with an idempotency key as well. */
export type BodyKind = 'text' | 'json' | 'cid'

const digits = 10
const streamDigits = 5
const marker = Buffer.from('seq=')
/** Bytes of the marker, the counter, the slash and the stream. */
const stampBytes = marker.length + digits + 1 + streamDigits

export interface Template { payload: Buffer, counterOffsets: number[] }

/** A payload of `bytes` bytes with the counter at zero. */
export function template (kind: BodyKind, stream: number, bytes: number): Template {
  const zero = '0'.repeat(digits)
  const stamp = `seq=${zero}/${String(stream).padStart(streamDigits, '0')}`
  const head = kind === 'text' ? '' : kind === 'json' ? '{"body":"' : `{"cid":"${zero}","body":"`
  const tail = kind === 'text' ? '' : '"}'
  const fill = bytes - head.length - stampBytes - tail.length
  if (fill < 0) throw new RangeError(`a ${kind} payload needs at least ${bytes - fill} bytes`)
  const payload = Buffer.from(head + stamp + 'x'.repeat(fill) + tail)
  const counterOffsets = [head.length + marker.length]
  if (kind === 'cid') counterOffsets.push('{"cid":"'.length)
  return { payload, counterOffsets }
}

/** Writes `counter` into the ten digits at `offset`. The digits there must be of a smaller counter. */
export function writeCounter (buffer: Uint8Array, offset: number, counter: number): void {
  for (let at = offset + digits - 1; counter > 0; at--) {
    const rest = Math.floor(counter / 10)
    buffer[at] = 48 + counter - rest * 10
    counter = rest
  }
}

function number (buffer: Buffer, at: number, end: number): number {
  let value = 0
  for (; at < end; at++) value = value * 10 + (buffer[at] as number) - 48
  return value
}

/** Finds the stamp in delivered payloads; remembers where it was, counted from the end. */
export class StampReader {
  counter = 0
  stream = 0
  #fromEnd = 0

  /** Reads the stamp of the payload at `start` to `end`; false when there is none. */
  read (buffer: Buffer, start: number, end: number): boolean {
    let at = end - this.#fromEnd
    if (at < start || this.#fromEnd === 0 || buffer[at] !== 0x73 || buffer[at + 1] !== 0x65 || buffer[at + 2] !== 0x71 || buffer[at + 3] !== 0x3d) {
      at = buffer.indexOf(marker, start)
      if (at < 0 || at + stampBytes > end) return false
      this.#fromEnd = end - at
    }
    const digitsAt = at + marker.length
    this.counter = number(buffer, digitsAt, digitsAt + digits)
    this.stream = number(buffer, digitsAt + digits + 1, at + stampBytes)
    return true
  }
}
