/** The client's side of a WebSocket (RFC 6455), as little of it as the generator needs. */

/** The upgrade request for MQTT; any path serves Mosquitto and the Aedes peer. */
export function upgrade (port: number): string {
  return [
    'GET /mqtt HTTP/1.1',
    `Host: 127.0.0.1:${port}`,
    'Upgrade: websocket',
    'Connection: Upgrade',
    `Sec-WebSocket-Key: ${Buffer.from('sabethes-bench-0').toString('base64')}`,
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Protocol: mqtt',
    '', ''
  ].join('\r\n')
}

/** One masked frame (5.2). The masking key is zero, so that the payload need not be changed; servers unmask all the same. */
export function frame (payload: Uint8Array, opcode = 2): Buffer {
  const { length } = payload
  const head = length < 126 ? 2 : 4
  const out = Buffer.alloc(head + 4 + length)
  out[0] = 0x80 | opcode
  if (length < 126) {
    out[1] = 0x80 | length
  } else {
    if (length > 65535) throw new RangeError('a frame of the generator holds at most 65,535 bytes')
    out[1] = 0x80 | 126
    out.writeUInt16BE(length, 2)
  }
  out.set(payload, head + 4)
  return out
}

/** Takes the payloads out of a stream of frames. */
export class Unframer {
  /** The bytes of data frames that `push` found; valid from 0 to what it answered. */
  data: Buffer = Buffer.alloc(0)
  /** Answers to pings, to be written; emptied by the caller. */
  readonly pongs: Buffer[] = []
  #rest: Buffer | undefined
  #open = false

  /** Whether the server has taken the upgrade; before that no frame may be sent (RFC 6455, 4.1). */
  get open (): boolean { return this.#open }

  /** Takes `bytes` bytes of `buffer`, which it changes; answers how many bytes of `data` are payload. Throws when the upgrade was refused. */
  push (buffer: Buffer, bytes: number): number {
    let data = buffer
    let end = bytes
    if (this.#rest !== undefined) {
      data = Buffer.concat([this.#rest, buffer.subarray(0, bytes)])
      end = data.length
      this.#rest = undefined
    }
    this.data = data
    let at = 0
    if (!this.#open) {
      const stop = data.subarray(0, end).indexOf('\r\n\r\n')
      if (stop < 0) {
        this.#rest = Buffer.from(data.subarray(0, end))
        return 0
      }
      const status = data.toString('latin1', 0, data.indexOf('\r\n'))
      if (!status.includes(' 101')) throw new Error(`upgrade refused: ${status}`)
      this.#open = true
      at = stop + 4
    }
    let filled = 0
    while (end - at >= 2) {
      let length = (data[at + 1] as number) & 127
      let payload = at + 2
      if (length === 126) {
        if (end - at < 4) break
        length = data.readUInt16BE(at + 2)
        payload = at + 4
      } else if (length === 127) {
        if (end - at < 10) break
        length = Number(data.readBigUInt64BE(at + 2))
        payload = at + 10
      }
      if (payload + length > end) break
      const opcode = (data[at] as number) & 15
      // Payloads move together to the front of the buffer: frames before them are done with.
      if (opcode <= 2) {
        data.copyWithin(filled, payload, payload + length)
        filled += length
      } else if (opcode === 9) {
        this.pongs.push(frame(data.subarray(payload, payload + length), 10))
      }
      at = payload + length
    }
    if (at < end) this.#rest = Buffer.from(data.subarray(at, end))
    return filled
  }
}
