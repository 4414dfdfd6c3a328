/**
 * One MQTT connection of the generator. All connections read into one buffer; packets are parsed where they lie, and
 * everything that a read asks to be acknowledged goes out in one write.
 */
import { connect as dial } from 'node:net'
import type { Socket } from 'node:net'
import { connect as dialTls } from 'node:tls'
import { Unframer, frame, upgrade } from './websocket.ts'
import * as wire from './wire.ts'

const readBuffer = Buffer.allocUnsafe(256 * 1024)
const ackScratch = Buffer.allocUnsafe(256 * 1024)

export interface OpenOptions {
  port: number
  user: string
  clientId?: string
  clean?: boolean
  /** Leaves everything after the CONNACK unread until `resume`. */
  stalled?: boolean
  timeoutMs?: number
  /** MQTT 5 instead of 3.1.1. */
  protocol?: wire.Protocol | undefined
  /** MQTT over WebSocket instead of TCP. */
  websocket?: boolean
  /** MQTT over TLS instead of TCP; whoever answers is believed. */
  tls?: boolean
  /** The source address, one of 127.0.0.0/8: each has ephemeral ports of its own. */
  localAddress?: string
  /** Called before anything is sent: a kept session's messages may share a read with the CONNACK. */
  prepare?: (connection: Connection) => void
}

export class Connection {
  /** PUBACK of `packetId`. */
  onPuback: (packetId: number) => void = () => {}
  /** PUBLISH whose payload is `start` to `end`; the bytes are valid during the call only. */
  onPublish: (buffer: Buffer, start: number, end: number) => void = () => {}
  /** After all packets of one read. */
  onRead: () => void = () => {}
  /** The server ended the connection; not called after `close`. */
  onLost: (reason: string) => void = () => {}
  readonly user: string
  readonly protocol: wire.Protocol | undefined
  sessionPresent = false
  bytesRead = 0
  reads = 0

  #socket: Socket
  #rest: Buffer | undefined
  #acks = 0
  #stalled: boolean
  #frames: Unframer | undefined
  #closing = false
  /** What is to happen once the server speaks WebSocket. */
  #upgraded: (() => void) | undefined
  #connack: (code: number) => void = () => {}
  #suback: (codes: Buffer) => void = () => {}

  constructor (socket: Socket, { user, stalled = false, protocol }: OpenOptions) {
    this.#socket = socket
    this.user = user
    this.protocol = protocol
    this.#stalled = stalled
  }

  /** Connects and waits for the CONNACK. Rejects when refused, closed or later than `timeoutMs` (10,000). */
  static open (options: OpenOptions): Promise<Connection> {
    const { port, user, clientId = user, clean = true, timeoutMs = 10_000, websocket = false, tls = false, localAddress, protocol } = options
    return new Promise((resolve, reject) => {
      const to = {
        host: '127.0.0.1',
        port,
        noDelay: true,
        ...(localAddress !== undefined && { localAddress }),
        onread: { buffer: readBuffer, callback: (bytes: number): boolean => connection.#read(bytes) }
      }
      const socket: Socket = tls ? dialTls({ ...to, rejectUnauthorized: false }) : dial(to)
      const connection: Connection = new Connection(socket, options)
      options.prepare?.(connection)
      const fail = (reason: string) => {
        clearTimeout(timer)
        socket.destroy()
        reject(new Error(`${user}: ${reason}`))
      }
      const timer = setTimeout(fail, timeoutMs, 'no CONNACK in time')
      let reason = 'closed before CONNACK'
      socket.on('error', error => { reason = error.message })
      socket.on('close', () => {
        if (connection.#closing) return
        connection.onLost(reason)
        fail(reason)
      })
      connection.#connack = code => {
        if (code !== 0) return fail(`CONNACK ${code}`)
        clearTimeout(timer)
        reason = 'closed by the server'
        resolve(connection)
      }
      const begin = () => { connection.write(wire.connect({ clientId, user, clean, keepAliveSeconds: 3600, protocol })) }
      if (websocket) {
        connection.#frames = new Unframer()
        connection.#upgraded = begin
        socket.write(upgrade(port))
      } else begin()
    })
  }

  /** Subscribes at QoS 1 and waits for the SUBACK. Rejects when a filter is refused. */
  subscribe (filters: readonly string[]): Promise<void> {
    return new Promise((resolve, reject) => {
      const lost = this.onLost
      this.onLost = reason => { lost(reason); reject(new Error(`${this.user}: ${reason} before SUBACK`)) }
      this.#suback = codes => {
        this.onLost = lost
        const refused = codes.findIndex(code => code > 2)
        if (refused < 0) resolve()
        else reject(new Error(`${this.user}: subscription to ${filters[refused]} refused`))
      }
      this.write(wire.subscribe(1, filters, this.protocol))
    })
  }

  /** Writes bytes that must not change until the server has acknowledged them. */
  write (bytes: Uint8Array): void { this.#socket.write(this.#frames === undefined ? bytes : frame(bytes)) }

  /** Reads on after `stalled`. */
  resume (): void {
    this.#stalled = false
    if (this.#rest !== undefined) this.#read(0)
    this.#socket.resume()
  }

  /** Sends DISCONNECT and ends the socket; resolves when it is closed. */
  close (): Promise<void> {
    this.#closing = true
    if (this.#socket.closed) return Promise.resolve()
    return new Promise(resolve => {
      const timer = setTimeout(() => { this.#socket.destroy() }, 2000)
      this.#socket.once('close', () => { clearTimeout(timer); resolve() })
      this.write(wire.disconnect)
      this.#socket.end()
      this.#stalled = false
      this.#socket.resume()
    })
  }

  /** Ends the socket without DISCONNECT. */
  destroy (): void {
    this.#closing = true
    this.#socket.destroy()
  }

  #read (bytes: number): boolean {
    this.bytesRead += bytes
    this.reads++
    let data: Buffer = readBuffer
    let end = bytes
    if (this.#frames !== undefined && bytes > 0) {
      try {
        end = this.#frames.push(readBuffer, bytes)
      } catch (error) {
        this.#socket.destroy(error as Error)
        return false
      }
      data = this.#frames.data
      if (this.#frames.open) {
        this.#upgraded?.()
        this.#upgraded = undefined
      }
      for (const pong of this.#frames.pongs.splice(0)) this.#socket.write(pong)
    }
    if (this.#rest !== undefined) {
      data = Buffer.concat([this.#rest, data.subarray(0, end)])
      end = data.length
      this.#rest = undefined
    }
    let at = 0
    while (end - at >= 2) {
      const head = data[at] as number
      let length = data[at + 1] as number
      let body = at + 2
      if (length > 127) {
        length &= 127
        let shift = 7
        let byte = 128
        while (byte > 127 && body < end) {
          byte = data[body++] as number
          length |= (byte & 127) << shift
          shift += 7
        }
        if (byte > 127) break
      }
      const next = body + length
      if (next > end) break
      this.#packet(data, head, body, next)
      at = next
      if (this.#stalled && head >> 4 === wire.type.connack) break
    }
    if (at < end) this.#rest = Buffer.from(data.subarray(at, end))
    if (this.#acks > 0) {
      this.write(Buffer.from(ackScratch.subarray(0, this.#acks)))
      this.#acks = 0
    }
    this.onRead()
    return !this.#stalled
  }

  #packet (data: Buffer, head: number, body: number, next: number): void {
    switch (head >> 4) {
      case wire.type.puback:
        this.onPuback(((data[body] as number) << 8) | (data[body + 1] as number))
        break
      case wire.type.publish: {
        let payload = body + 2 + (((data[body] as number) << 8) | (data[body + 1] as number))
        if ((head & 0x06) !== 0) {
          ackScratch[this.#acks] = 0x40
          ackScratch[this.#acks + 1] = 2
          ackScratch[this.#acks + 2] = data[payload] as number
          ackScratch[this.#acks + 3] = data[payload + 1] as number
          this.#acks += 4
          payload += 2
        }
        if (this.protocol !== undefined) payload = propertiesEnd(data, payload)
        this.onPublish(data, payload, next)
        break
      }
      case wire.type.connack:
        this.sessionPresent = (data[body] as number) === 1
        this.#connack(data[body + 1] as number)
        break
      case wire.type.suback:
        this.#suback(Buffer.from(data.subarray(this.protocol === undefined ? body + 2 : propertiesEnd(data, body + 2), next)))
        break
    }
  }
}

/** Where the properties end whose length stands at `at`. */
function propertiesEnd (data: Buffer, at: number): number {
  let length = 0
  let shift = 0
  let byte = 128
  while (byte > 127) {
    byte = data[at++] as number
    length |= (byte & 127) << shift
    shift += 7
  }
  return at + length
}
