/** An MQTT client on a bare socket: it sends what it is told, byte for byte, and acknowledges only when asked to. */
import { once } from 'node:events'
import { connect } from 'node:net'
import type { Duplex } from 'node:stream'
import { generate, parser } from 'mqtt-packet'
import type { IConnackPacket, IConnectPacket, IPublishPacket, IPubackPacket, ISubackPacket, Packet } from 'mqtt-packet'
import type { Test } from 'tap'
import { Mailbox, within } from './mailbox.ts'

export type Version = 4 | 5

export interface RawOptions {
  version?: Version
  /** Acknowledges QoS 1 messages by itself (default true). */
  acknowledge?: boolean
  /** A connected stream instead of a TCP connection to `port`. */
  stream?: Duplex
}

export interface RawConnect extends RawOptions {
  user?: string
  password?: string
  clientId?: string
  clean?: boolean
  keepaliveSeconds?: number
  will?: IConnectPacket['will']
  properties?: IConnectPacket['properties']
}

export class RawClient {
  readonly stream: Duplex
  readonly version: Version
  readonly packets = new Mailbox<Packet>('raw client')
  acknowledge: boolean
  /** Publishes that arrived so far. */
  received = 0
  /** Resolves when the connection is closed, by whichever side. */
  readonly closed: Promise<void>
  #packetId = 0

  constructor (stream: Duplex, options: RawOptions = {}) {
    this.stream = stream
    this.version = options.version ?? 4
    this.acknowledge = options.acknowledge ?? true
    const reader = parser({ protocolVersion: this.version })
    reader.on('packet', packet => {
      if (packet.cmd === 'publish') {
        this.received++
        if (this.acknowledge && packet.qos === 1) this.puback(packet.messageId as number)
      }
      this.packets.put(packet)
    })
    reader.on('error', (cause: Error) => stream.destroy(cause))
    stream.on('data', (chunk: Buffer) => { reader.parse(chunk) })
    let failure = ''
    // A reset by the server is one of the ways a connection ends; `closed` tells of it.
    stream.on('error', (cause: Error) => { failure = `: ${cause.message}` })
    this.closed = new Promise(resolve => {
      stream.once('close', () => {
        this.packets.end(new Error(`the connection is closed${failure}`))
        resolve()
      })
    })
    stream.once('end', () => stream.end())
  }

  /** Opens a TCP connection and sends nothing. */
  static async open (t: Test, port: number, options: RawOptions = {}): Promise<RawClient> {
    let stream = options.stream
    if (stream === undefined) {
      const socket = connect({ port, host: '127.0.0.1', noDelay: true })
      await once(socket, 'connect')
      stream = socket
    }
    const client = new RawClient(stream, options)
    t.teardown(() => { client.cut() })
    return client
  }

  /** Connects and resolves with the CONNACK, whatever it says. */
  static async connect (t: Test, port: number, options: RawConnect = {}): Promise<{ client: RawClient, connack: IConnackPacket }> {
    const client = await RawClient.open(t, port, options)
    const connack = await client.hello(options)
    return { client, connack }
  }

  /** Sends CONNECT and resolves with the CONNACK. */
  async hello (options: RawConnect = {}): Promise<IConnackPacket> {
    this.send(connectPacket({ version: this.version, ...options }))
    return await this.packets.take(p => p.cmd === 'connack', 60_000, 'connack') as IConnackPacket
  }

  /** Sends one packet; the caller is responsible for its legality. */
  send (packet: Packet): void { this.write(generate(packet, { protocolVersion: this.version })) }
  write (bytes: Uint8Array | string): void { this.stream.write(bytes) }
  puback (messageId: number): void { this.send({ cmd: 'puback', messageId }) }
  nextId (): number {
    this.#packetId = this.#packetId % 65_535 + 1
    return this.#packetId
  }

  /** Publishes at QoS 1 and resolves with the PUBACK. */
  async publish (topic: string, payload: string | Buffer, options: Partial<IPublishPacket> = {}): Promise<IPubackPacket> {
    const messageId = options.messageId ?? this.nextId()
    this.send({ cmd: 'publish', topic, payload, qos: 1, dup: false, retain: false, messageId, ...options })
    return await this.packets.take(p => p.cmd === 'puback' && p.messageId === messageId, 15_000, `puback ${messageId}`) as IPubackPacket
  }

  /** Subscribes at one QoS and resolves with the codes of the SUBACK. */
  async subscribe (filters: string | string[], qos: 0 | 1 | 2 = 1): Promise<number[]> {
    const messageId = this.nextId()
    const subscriptions = [filters].flat().map(topic => ({ topic, qos }))
    this.send({ cmd: 'subscribe', messageId, subscriptions })
    const suback = await this.packets.take(p => p.cmd === 'suback' && p.messageId === messageId, 15_000, 'suback') as ISubackPacket
    return suback.granted as number[]
  }

  /** The next message, of a topic when one is given. */
  async next (topic?: string, timeoutMs?: number): Promise<IPublishPacket & { messageId: number }> {
    const match = (p: Packet): boolean => p.cmd === 'publish' && (topic === undefined || p.topic === topic)
    return await this.packets.take(match, timeoutMs, topic ?? 'publish') as IPublishPacket & { messageId: number }
  }

  /** Resolves when the server answered a PINGREQ: everything it sent before has arrived. */
  async ping (): Promise<void> {
    this.send({ cmd: 'pingreq' })
    await this.packets.take(p => p.cmd === 'pingresp', 15_000, 'pingresp')
  }

  /** Ends as MQTT asks: DISCONNECT, then the server closes. */
  async disconnect (): Promise<void> {
    this.send({ cmd: 'disconnect', reasonCode: 0 })
    this.stream.end()
    await within(this.closed, 10_000, 'the close after DISCONNECT')
  }

  /** Cuts the connection without a word. */
  cut (): void { this.stream.destroy() }
}

/** A CONNECT packet with this harness' defaults. */
export function connectPacket (options: RawConnect): IConnectPacket {
  return {
    cmd: 'connect',
    protocolId: 'MQTT',
    protocolVersion: options.version ?? 4,
    clientId: options.clientId ?? '',
    clean: options.clean ?? true,
    keepalive: options.keepaliveSeconds ?? 60,
    ...options.user !== undefined && { username: options.user },
    ...options.password !== undefined && { password: Buffer.from(options.password) },
    ...options.will !== undefined && { will: options.will },
    ...options.properties !== undefined && options.version === 5 && { properties: options.properties }
  }
}

/** A chat envelope (or event, notice, answer) as it arrived. */
export function json (packet: { payload: string | Buffer }): Record<string, unknown> {
  return JSON.parse(packet.payload.toString()) as Record<string, unknown>
}
