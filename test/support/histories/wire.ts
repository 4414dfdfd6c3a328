/** One connection of a history's client: packets in and out, and what holds for every packet of a server whatever it says. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { generate, parser, type IConnectPacket, type IPublishPacket, type Packet } from 'mqtt-packet'
import { within } from '../mailbox.ts'

export interface WireOptions {
  receiveMaximum: number
  /** 0: takes none. */
  aliasMaximum: number
  /** 0: none. */
  maximumPacketSize: number
  /** A message, with its topic written out, in the order of coming. */
  onPublish: (packet: IPublishPacket) => void
  /** A PUBREL. */
  onRelease: (packetId: number) => void
  /** PUBACK, PUBREC or PUBCOMP; before those who wait for it hear. */
  onAnswer: (packet: Packet) => void
  /** The connection has ended, and not by this side. */
  onLost: (reason: string) => void
  fault: (text: string) => void
}

interface Waiter { match: (packet: Packet) => boolean, resolve: (packet: Packet) => void, reject: (cause: Error) => void }

const answerMs = 15_000

export class Wire {
  /** Aliases that the server takes. */
  aliasesOut = 0
  /** Topics by the alias that this side gave them. */
  readonly given = new Map<number, string>()
  readonly closed: Promise<unknown>
  open = true
  readonly #socket: Socket
  readonly #options: WireOptions
  readonly #told = new Map<number, string>()
  readonly #waiters = new Set<Waiter>()
  /** Packet ids of messages that the server counts for Receive Maximum. */
  readonly #outstanding = new Set<number>()
  #ending = false
  #reason = 'without a word'

  private constructor (socket: Socket, options: WireOptions) {
    this.#socket = socket
    this.#options = options
    this.closed = new Promise<void>(resolve => { socket.once('close', () => { this.#lost(); resolve() }) })
    const reader = parser({ protocolVersion: 5 })
    reader.on('packet', packet => { this.#packet(packet) })
    reader.on('error', (cause: Error) => {
      options.fault(`a packet that cannot be read: ${cause.message}`)
      socket.destroy()
    })
    socket.on('data', (chunk: Buffer) => { if (!this.#ending) reader.parse(chunk) })
    socket.on('error', (cause: Error) => { this.#reason = cause.message })
    socket.once('end', () => { socket.end() })
  }

  static async open (port: number, options: WireOptions): Promise<Wire> {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    await once(socket, 'connect')
    return new Wire(socket, options)
  }

  /** Sends CONNECT; the CONNACK. */
  async hello (packet: Omit<IConnectPacket, 'cmd' | 'protocolId' | 'protocolVersion'>): Promise<Packet & { cmd: 'connack' }> {
    const { receiveMaximum, aliasMaximum, maximumPacketSize } = this.#options
    const properties = { ...packet.properties, receiveMaximum, ...aliasMaximum > 0 && { topicAliasMaximum: aliasMaximum }, ...maximumPacketSize > 0 && { maximumPacketSize } }
    const answer = this.answer(one => one.cmd === 'connack', 'CONNACK')
    this.send({ cmd: 'connect', protocolId: 'MQTT', protocolVersion: 5, ...packet, properties })
    const connack = await answer as Packet & { cmd: 'connack' }
    this.aliasesOut = connack.properties?.topicAliasMaximum ?? 0
    return connack
  }

  send (packet: Packet): void { this.#socket.write(generate(packet, { protocolVersion: 5 })) }

  /** The next packet that matches; to be called before what it answers is sent. */
  async answer (match: (packet: Packet) => boolean, what: string): Promise<Packet> {
    let waiter: Waiter | undefined
    const found = new Promise<Packet>((resolve, reject) => {
      if (!this.open) return reject(new Error(`${what}: the connection is closed`))
      this.#waiters.add(waiter = { match, resolve, reject })
    })
    try {
      return await within(found, answerMs, what)
    } finally {
      if (waiter !== undefined) this.#waiters.delete(waiter)
    }
  }

  /** Acknowledges; `frees`: the message does not count any more. */
  acknowledge (cmd: 'puback' | 'pubrec' | 'pubcomp', messageId: number): void {
    if (cmd !== 'pubrec') this.#outstanding.delete(messageId)
    this.send({ cmd, messageId })
  }

  /** Another connection of the same session takes its place. */
  expectEnd (): void { this.#ending = true }

  /** Gone without a word. */
  async cut (): Promise<void> {
    this.#ending = true
    this.#socket.destroy()
    await this.closed
  }

  /** DISCONNECT; resolves when the server has closed. */
  async leave (packet: Packet): Promise<void> {
    this.#ending = true
    this.send(packet)
    await within(this.closed, answerMs, 'the close after DISCONNECT')
  }

  #lost (): void {
    this.open = false
    for (const { reject } of this.#waiters) reject(new Error(`the connection was closed: ${this.#reason}`))
    this.#waiters.clear()
    if (!this.#ending) this.#options.onLost(this.#reason)
  }

  #packet (packet: Packet): void {
    const { maximumPacketSize, fault } = this.#options
    const bytes = 1 + lengthBytes(packet.length ?? 0) + (packet.length ?? 0)
    if (maximumPacketSize > 0 && bytes > maximumPacketSize) fault(`${packet.cmd} of ${bytes} bytes, over the Maximum Packet Size of ${maximumPacketSize} [MQTT-3.1.2-24]`)
    if (packet.cmd === 'publish') return this.#publish(packet)
    if (packet.cmd === 'pubrel') this.#options.onRelease(packet.messageId as number)
    if (packet.cmd === 'disconnect') this.#reason = `DISCONNECT 0x${(packet.reasonCode ?? 0).toString(16)} ${packet.properties?.reasonString ?? ''}`
    if (packet.cmd === 'puback' || packet.cmd === 'pubrec' || packet.cmd === 'pubcomp') this.#options.onAnswer(packet)
    for (const waiter of this.#waiters) if (waiter.match(packet)) waiter.resolve(packet)
  }

  #publish (packet: IPublishPacket): void {
    const { aliasMaximum, receiveMaximum, fault, onPublish } = this.#options
    const alias = packet.properties?.topicAlias
    if (alias !== undefined) {
      if (alias < 1 || alias > aliasMaximum) fault(`topic alias ${alias}, with a Topic Alias Maximum of ${aliasMaximum} [MQTT-3.1.2-26]`)
      if (packet.topic !== '') this.#told.set(alias, packet.topic)
      else packet.topic = this.#told.get(alias) ?? ''
    }
    if (packet.topic === '') return fault(`a message without a topic, alias ${alias} was not told`)
    if (packet.qos > 0) {
      if (this.#outstanding.has(packet.messageId as number)) fault(`packet id ${packet.messageId} of a message that is under way [MQTT-2.2.1-4]`)
      this.#outstanding.add(packet.messageId as number)
      if (this.#outstanding.size > receiveMaximum) fault(`${this.#outstanding.size} messages unacknowledged, with a Receive Maximum of ${receiveMaximum} [MQTT-3.3.4-9]`)
    } else if (packet.dup) fault('DUP at QoS 0 [MQTT-3.3.1-2]')
    onPublish(packet)
  }
}

function lengthBytes (length: number): number { return length < 128 ? 1 : length < 16_384 ? 2 : length < 2_097_152 ? 3 : 4 }
