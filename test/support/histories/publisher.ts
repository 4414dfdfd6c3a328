/** The publishing side of a client: aliases, both handshakes, and what is sent again on the next connection. */
import type { IPublishPacket, Packet } from 'mqtt-packet'
import type { Outgoing } from './actions.ts'
import type { Chat, Message } from './model.ts'
import type { Wire } from './wire.ts'
import type { World } from './world.ts'

interface Sent { message: Message, packetId: number, stage: 'publish' | 'received' | 'released', /** on an earlier connection */ resumed: boolean }

export class Publisher {
  readonly #world: World
  readonly #session: string
  #wire: Wire | undefined
  #packetId = 0
  /** What has no last answer, in the order of sending; kept with the session. */
  readonly #sent = new Map<number, Sent>()
  /** At QoS 0, since the connection had its last answer. */
  #unanswered: Message[] = []

  constructor (world: World, session: string) {
    this.#world = world
    this.#session = session
  }

  nextId (): number {
    do this.#packetId = this.#packetId % 65_535 + 1
    while (this.#sent.has(this.#packetId))
    return this.#packetId
  }

  /** A session has begun. */
  forget (): void { this.#sent.clear() }

  /** What was left is sent again [MQTT-4.4.0-1]. Not waited for. */
  connected (wire: Wire): void {
    this.#wire = wire
    for (const sent of this.#sent.values()) {
      sent.resumed = true
      if (sent.stage === 'publish') {
        sent.message.attempts++
        this.#send(sent.message, sent.packetId, { dup: true })
      } else if (sent.stage === 'released') wire.send({ cmd: 'pubrel', messageId: sent.packetId })
    }
  }

  /** `goodbye`: by DISCONNECT. */
  gone (goodbye = false): void {
    for (const { message, stage } of this.#sent.values()) {
      if (stage !== 'publish') continue
      message.cut = true
      message.unread ||= goodbye
    }
    this.#wire = undefined
    this.#unanswered = []
  }

  /** Messages at QoS 0 that the next answer is behind. */
  unanswered (): Message[] { return this.#unanswered.splice(0) }

  async publish (all: Outgoing[], until: 'done' | 'pubrec' | 'sent', group: { id: string, members: string[] }): Promise<void> {
    const wire = this.#wire
    if (wire === undefined) return
    const answers: Array<Promise<void>> = []
    for (const one of all) {
      const message = this.#made(one, group)
      const packetId = message.qos === 0 ? 0 : this.nextId()
      if (message.qos > 0) {
        this.#sent.set(packetId, { message, packetId, stage: 'publish', resumed: false })
        if (until !== 'sent') answers.push(this.#answered(wire, packetId))
      } else if (message.chat === undefined) this.#unanswered.push(message)
      this.#send(message, packetId, this.#aliased(wire, one.alias, message.topic))
    }
    await Promise.all(answers)
    if (until === 'done') await this.finish()
  }

  #made ({ topic: name, qos, bytes, retain, expiry }: Outgoing, group: { id: string, members: string[] }): Message {
    const world = this.#world
    const [topic, number] = [world.place(name), world.messages.length]
    const sender = this.#session.split('/')[0] as string
    let chat: Chat | undefined
    if (topic.startsWith('im/to/g/')) chat = { conversation: `g:${group.id}`, users: group.members, sender, gid: group.id }
    else if (topic.startsWith('im/')) {
      const users = [sender, topic.slice('im/to/u/'.length)].sort()
      chat = { conversation: `d:${users.join(':')}`, users, sender, gid: undefined }
    }
    const message: Message = { number, topic, chat, from: this.#session, qos, bytes: Math.max(bytes, `m${number} `.length), retain, expiry, start: world.tick(), end: Infinity, taken: false, attempts: 1, cut: false, unread: false }
    world.messages.push(message)
    world.note(`${this.#session} publishes m${number} ${topic} qos ${qos} bytes ${message.bytes}`)
    return message
  }

  #aliased (wire: Wire, alias: number, topic: string): Partial<IPublishPacket> {
    if (alias === 0 || alias > wire.aliasesOut) return {}
    if (wire.given.get(alias) === topic) return { topic: '', properties: { topicAlias: alias } }
    wire.given.set(alias, topic)
    return { properties: { topicAlias: alias } }
  }

  #send ({ number, topic, qos, bytes, retain, expiry }: Message, messageId: number, more: Partial<IPublishPacket>): void {
    const properties = { ...more.properties, ...expiry > 0 && { messageExpiryInterval: expiry } }
    const packet: Packet = { cmd: 'publish', topic, payload: `m${number} `.padEnd(bytes, 'x'), qos, dup: false, retain, ...qos > 0 && { messageId }, ...more, properties }
    this.#wire?.send(packet)
  }

  /** PUBACK, PUBREC or PUBCOMP. */
  answered (answer: Packet): void {
    const sent = this.#sent.get(answer.messageId ?? 0)
    if (sent === undefined) return this.#world.fault(`${this.#session}: ${answer.cmd} ${answer.messageId} of nothing that is under way`)
    const { message } = sent
    const code = 'reasonCode' in answer ? answer.reasonCode ?? 0 : 0
    this.#world.note(`${this.#session} has ${answer.cmd} of m${message.number} 0x${code.toString(16)}`)
    // The server may be through with what was begun before (section 3.6.2.1).
    if (code >= 0x80 && !(code === 0x92 && sent.resumed && answer.cmd === 'pubcomp')) this.#world.fault(`${this.#session}: m${message.number} has ${answer.cmd} 0x${code.toString(16)}`)
    if (answer.cmd === 'pubrec') sent.stage = 'received'
    else this.#over(sent)
  }

  #over ({ message, packetId }: Sent): void {
    message.taken = true
    message.end = this.#world.tick()
    this.#sent.delete(packetId)
  }

  /** Resolves at PUBACK or PUBREC. */
  async #answered (wire: Wire, packetId: number): Promise<void> {
    await wire.answer(one => (one.cmd === 'puback' || one.cmd === 'pubrec') && one.messageId === packetId, `${this.#session}: PUBACK or PUBREC ${packetId}`)
  }

  /** Waits for what has no answer yet, and takes QoS 2 to its end. */
  async finish (): Promise<void> {
    const wire = this.#wire
    if (wire === undefined) return
    const all = [...this.#sent.values()]
    await Promise.all(all.filter(({ stage }) => stage === 'publish').map(async ({ packetId }) => { await this.#answered(wire, packetId) }))
    await Promise.all(all.map(async sent => {
      if (sent.stage === 'publish') return
      const { packetId } = sent
      const done = wire.answer(one => one.cmd === 'pubcomp' && one.messageId === packetId, `${this.#session}: PUBCOMP ${packetId}`)
      if (sent.stage === 'received') wire.send({ cmd: 'pubrel', messageId: packetId })
      sent.stage = 'released'
      await done
    }))
  }
}
