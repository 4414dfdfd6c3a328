/** The gateway with a fake engine, and clients whose byte streams are memory: every step of a race is the test's. */
import { pino, type Logger } from 'pino'
import { generate, parser, type IConnackPacket, type IConnectPacket, type IPublishPacket, type ISubackPacket, type Packet } from 'mqtt-packet'
import type { Test } from 'tap'
import { Gateway, type GatewayOptions } from '../../broker/gateway/gateway.ts'
import type { GatewayLimits } from '../../broker/gateway/limits.ts'
import { OpenTopics } from '../../broker/gateway/open-topics.ts'
import type { OrdinaryTopics } from '../../broker/gateway/ordinary-topics.ts'
import type { Transport, TransportHandler } from '../../broker/gateway/listener/transport.ts'
import { Topics } from '../../broker/topics.ts'
import { FakeEngine } from './fake-engine.ts'
import { Mailbox } from './mailbox.ts'

export const wideLimits: GatewayLimits = {
  packetBytes: 1_000_000,
  connectBytes: 8192,
  connectTimeoutMs: 5000,
  keepAliveMaxSeconds: 1800,
  connections: 1000,
  connectionsPerAddress: 1000,
  connectionsPerUser: 100,
  takeoversPerSecond: 1000,
  subscriptionsPerSession: 100,
  inflight: 64,
  shareMembers: 100,
  shareInflight: 1024,
  shareHoldTimeoutMs: 300_000,
  shareExpirySeconds: 3600,
  pendingPublishes: 1024,
  pendingBytes: 4_194_304,
  queuedPublishes: 1024,
  opening: 16,
  pendingRequests: 1000,
  answerBytesPerUser: 1_000_000_000,
  answerBytes: 1_000_000_000,
  pendingQos2: 100,
  recentBytes: 1_000_000,
  packetsPerSecond: 0,
  bytesPerSecond: 0,
  topicBytes: 1024,
  topicLevels: 32,
  topicAliases: 32,
  clientIdBytes: 128,
  outputBytes: 1_048_576,
  stallTimeoutMs: 30_000,
  delayedWillsPerUser: 100,
  delayedWillBytes: 1_000_000,
  offlineQueue: 1000,
  offlineQueueBytes: 1_000_000,
  offlineBytes: 10_000_000,
  retained: 1000,
  retainedBytes: 1_000_000,
  sessionExpirySeconds: 3600,
  maxSessionExpirySeconds: 86_400
}

/** What a device gets of a message, whatever it listens with. */
export interface Got { topic: string, payload: string | Buffer, dup: boolean, qos: number, messageId?: number | undefined }

export interface Bench { access: Gateway, engine: FakeEngine, client (options?: { address?: string, version?: 4 | 5 }): MemoryClient }

/** The gateway with these limits; closed at the end of the test. */
export function bench (t: Test | undefined, limits: Partial<GatewayLimits> = {}, ordinary?: OrdinaryTopics, openTopics: string[] = [], log: Logger = pino({ level: 'silent' }), anonymous = false, steady: () => number = () => performance.now(), records?: GatewayOptions['records'], more: Partial<GatewayOptions> = {}): Bench {
  const topics = new Topics()
  const engine = new FakeEngine()
  const access = new Gateway({
    engine,
    serverInfo: { version: 'test' },
    now: () => Date.now() + engine.aheadMs,
    steady,
    ordinary,
    ...records !== undefined && { records },
    topics,
    openTopics: new OpenTopics(openTopics, topics.prefix),
    limits: { ...wideLimits, ...limits },
    log,
    anonymous,
    authMethods: ['TEST'],
    ...more
  })
  engine.output = outputs => { access.output(outputs) }
  t?.teardown(async () => {
    engine.holding.clear()
    for (const held of [...engine.held]) held.now()
    await access.close()
  })
  return { access, engine, client: (options = {}) => new MemoryClient(access, options) }
}

/** Lets everything that is due happen: each hop of access, fake engine and memory is one turn of the event loop at most. */
export async function settled (engine: FakeEngine): Promise<void> {
  for (let quiet = 0; quiet < 4;) {
    await new Promise<void>(resolve => { setImmediate(resolve) })
    quiet = engine.openCalls === 0 ? quiet + 1 : 0
  }
}

class MemoryTransport implements Transport {
  readonly headroom = 0
  readonly address: string
  unsentBytes = 0
  /** While true nothing that is written reaches the client until `drain`. */
  slow = false
  paused = false
  ended = false
  destroyed = false
  handler: TransportHandler | undefined
  readonly #receive: (chunk: Buffer) => void
  #waiting: Buffer[] = []
  #closing = false

  constructor (address: string, receive: (chunk: Buffer) => void) {
    this.address = address
    this.#receive = receive
  }

  write (chunk: Buffer): void {
    if (this.ended || this.destroyed) return
    if (this.slow) {
      this.#waiting.push(chunk)
      this.unsentBytes += chunk.length
    } else {
      // Taken at once: the chunk is the server's again.
      this.#receive(Buffer.from(chunk))
    }
  }

  drain (tell = true): void {
    this.unsentBytes = 0
    for (const chunk of this.#waiting.splice(0)) this.#receive(chunk)
    if (tell) this.handler?.onDrain()
  }

  pause (): void { this.paused = true }
  resume (): void { this.paused = false }
  settle (): void { /* no socket: nobody counts it */ }
  end (): void { this.ended = true; this.lost() }
  destroy (): void { this.destroyed = true; this.#waiting = []; this.lost() }
  attach (handler: TransportHandler): void { this.handler = handler }

  /** The connection is gone. */
  lost (): void {
    if (this.#closing) return
    this.#closing = true
    setImmediate(() => { this.handler?.onClose() })
  }
}

export class MemoryClient {
  readonly transport: MemoryTransport
  readonly packets = new Mailbox<Packet>('memory client')
  readonly version: 4 | 5
  #packetId = 0

  constructor (access: Gateway, { address = '192.0.2.1', version = 4 }: { address?: string, version?: 4 | 5 }) {
    this.version = version
    const reader = parser({ protocolVersion: version })
    reader.on('packet', packet => { this.packets.put(packet) })
    this.transport = new MemoryTransport(address, chunk => { reader.parse(chunk) })
    access.accept(this.transport)
  }

  get closed (): boolean { return this.transport.ended || this.transport.destroyed }

  send (packet: Packet): void { this.write(generate(packet, { protocolVersion: this.version })) }
  write (bytes: Buffer): void { this.transport.handler?.onData(bytes) }

  async connect (user: string, options: Partial<IConnectPacket> = {}): Promise<IConnackPacket> {
    this.hello(user, options)
    return await this.packets.take(one => one.cmd === 'connack', 5000, 'connack') as IConnackPacket
  }

  hello (user: string, options: Partial<IConnectPacket> = {}): void {
    this.send({ cmd: 'connect', protocolId: 'MQTT', protocolVersion: this.version, clientId: 'phone', clean: true, keepalive: 0, username: user, ...options })
  }

  async subscribe (filters: string | string[], qos: 0 | 1 | 2 = 1): Promise<number[]> {
    const messageId = ++this.#packetId
    this.send({ cmd: 'subscribe', messageId, subscriptions: [filters].flat().map(topic => ({ topic, qos })) })
    const suback = await this.packets.take(one => one.cmd === 'suback' && one.messageId === messageId, 5000, 'suback') as ISubackPacket
    return suback.granted as number[]
  }

  async unsubscribe (filter: string): Promise<void> {
    const messageId = ++this.#packetId
    this.send({ cmd: 'unsubscribe', messageId, unsubscriptions: [filter] })
    await this.packets.take(one => one.cmd === 'unsuback' && one.messageId === messageId, 5000, 'unsuback')
  }

  /** Subscribes or unsubscribes, and waits for nothing. */
  ask (what: 'subscribe' | 'unsubscribe', filters: string[]): void {
    const messageId = ++this.#packetId
    if (what === 'subscribe') this.send({ cmd: what, messageId, subscriptions: filters.map(topic => ({ topic, qos: 1 })) })
    else this.send({ cmd: what, messageId, unsubscriptions: filters })
  }

  publish (topic: string, payload: string | Buffer, qos: 0 | 1 | 2 = 1, messageId = ++this.#packetId): number {
    this.send({ cmd: 'publish', topic, payload, qos, dup: false, retain: false, messageId })
    return messageId
  }

  ack (packet: { messageId?: number | undefined }): void { this.send({ cmd: 'puback', messageId: packet.messageId as number }) }

  async next (): Promise<IPublishPacket> { return await this.packets.take(one => one.cmd === 'publish', 5000, 'publish') as IPublishPacket }

  /** The publishes that have arrived and were not taken. */
  take (): IPublishPacket[] {
    const taken = this.packets.waiting.filter((one): one is IPublishPacket => one.cmd === 'publish')
    for (const one of taken) this.packets.waiting.splice(this.packets.waiting.indexOf(one), 1)
    return taken
  }

  /** `{conv}{seq}` of what has arrived and was not taken. */
  seqs (): string[] { return this.take().map(name) }

  /** All kinds of packets that have arrived and were not taken. */
  kinds (): string[] { return this.packets.waiting.splice(0).map(one => one.cmd) }

  /** Says goodbye. */
  leave (): void { this.send({ cmd: 'disconnect' }) }

  /** Disappears without a word. */
  lose (): void { this.transport.destroy() }
}

/** `{conv}#{seq}` of a message, with `!` for DUP. */
export function name (packet: Got): string {
  const { conv, seq } = JSON.parse(packet.payload.toString()) as { conv: string, seq: number }
  return `${conv}#${seq}${packet.dup ? '!' : ''}`
}
