/** Senders and receivers that go on through deaths of the server, and report to a checker. */
import type { Socket } from 'node:net'
import mqtt from 'mqtt'
import type { DoneCallback, Packet } from 'mqtt'
import type { Test } from 'tap'
import type { Checker } from './checker.ts'
import { Device } from './mqtt.ts'
import { until, within } from './mailbox.ts'
import { RawClient } from './raw-client.ts'

export interface Place { conv: string, topic: string }

/** Why a load may not go on as planned: refusals (there should be none) and errors. */
export class Complaints {
  readonly list: string[] = []
  add (text: string): void { if (this.list.length < 50) this.list.push(text) }
}

/** Sends again with DUP, as [MQTT-3.3.1-1] asks; the `mqtt` package's own store (5.16) sends again without it. */
export class ResendStore extends mqtt.Store {
  override put (packet: Packet, done: DoneCallback): this {
    return super.put(packet.cmd === 'publish' ? { ...packet, dup: true } : packet, done)
  }
}

/** A device whose connection comes back by itself until it is stopped; what it has not seen acknowledged it sends again, with DUP. */
export class Steady {
  readonly device: Device
  constructor (t: Test, url: string, user: string, clientId: string) {
    this.device = new Device(url, { user, clientId, clean: false, options: { connectTimeout: 30_000, reconnectPeriod: 100, reconnectOnConnackError: true, outgoingStore: new ResendStore({ clean: false }) } })
    t.teardown(async () => { await this.stop() })
  }

  async stop (): Promise<void> { await this.device.client.endAsync(true) }
}

/** A receiver's device: a persistent session that notes all it gets. `readEach`: with each so many messages of a conversation it says that it has read it so far. */
export async function receiver (t: Test, url: string, checker: Checker, user: string, name: string, readEach = 0): Promise<Steady> {
  const steady = new Steady(t, url, user, name)
  checker.device(`${user}/${name}`, user)
  let connections = 0
  // Messages come before 'connect', which waits until what was unacknowledged is sent again.
  steady.device.client.on('packetreceive', ({ cmd }) => { if (cmd === 'connack' && connections++ > 0) checker.reconnected(`${user}/${name}`) })
  steady.device.onMessage = ({ topic, text }) => {
    const one = JSON.parse(text) as { conv: string, seq: number, id: string, from: string, body: string, type: string }
    // One's own group messages come on the inbox too; the group's topic is the one that is checked.
    const group = one.conv.startsWith('g:')
    if (group === topic.startsWith('im/g/')) checker.received(`${user}/${name}`, { ...one, system: one.type === 'system' })
    if (readEach > 0 && one.from !== user && one.seq % readEach === 0) {
      const place = group ? `g/${one.conv.slice(2)}` : `u/${one.from}`
      // Sent again with the next connection when it has no answer: marks may come twice and late.
      steady.device.client.publish(`im/to/${place}/read`, String(one.seq), { qos: 1 })
    }
    return true
  }
  await steady.device.connected()
  const granted = await steady.device.subscribe([`im/u/${user}/inbox`, 'im/g/+'])
  if (granted.some(code => code > 1)) throw new Error(`${user}: SUBACK ${granted.join()}`)
  return steady
}

export interface SenderOptions {
  /** True: a `cid` in each message, and this program sends it again. False: no `cid`, and the `mqtt` package resends with DUP. */
  withCid: boolean
  /** Milliseconds between two sends of this sender. */
  pauseMs: number
  /** Milliseconds for the last acknowledgements (default 30,000). */
  patienceMs?: number
}

interface Link { connected: boolean, send: (body: string, topic: string, payload: string) => void, stop: () => Promise<void> }

/** Sends one message after another, up to four unacknowledged, until `stop`; then every send is acknowledged. */
export class Sender {
  readonly user: string
  readonly #link: Link
  readonly #checker: Checker
  readonly #places: Place[]
  readonly #options: SenderOptions
  readonly #open = new Map<string, { topic: string, payload: string }>()
  #count = 0
  #stopping = false

  constructor (t: Test, server: { url: string, mqttPort: number }, checker: Checker, complaints: Complaints, user: string, places: Place[], options: SenderOptions) {
    this.user = user
    this.#checker = checker
    this.#places = places
    this.#options = options
    this.#link = options.withCid ? this.#rawLink(t, server.mqttPort, complaints) : this.#packageLink(t, server.url, complaints)
  }

  async run (): Promise<void> {
    while (!this.#stopping) {
      if (this.#open.size < 4 && this.#link.connected) this.#sendOne()
      await new Promise(resolve => setTimeout(resolve, this.#options.pauseMs))
    }
    await until(() => this.#open.size === 0, this.#options.patienceMs ?? 30_000, `the acknowledgements of ${this.user}`)
      .catch((cause: Error) => { throw new Error(`${cause.message}: ${[...this.#open.keys()].join()}`) })
  }

  stop (): void { this.#stopping = true }
  async end (): Promise<void> { await within(this.#link.stop(), 10_000, 'the end of a sender') }

  #sendOne (): void {
    const place = this.#places[this.#count % this.#places.length] as Place
    const body = `${this.user} ${++this.#count}`
    const payload = this.#options.withCid ? JSON.stringify({ cid: `c-${this.#count}`, body }) : body
    this.#checker.sent(this.user, place.conv, body)
    this.#open.set(body, { topic: place.topic, payload })
    this.#link.send(body, place.topic, payload)
  }

  #acknowledged (body: string): void {
    this.#open.delete(body)
    this.#checker.acknowledged(body)
  }

  #packageLink (t: Test, url: string, complaints: Complaints): Link {
    const steady = new Steady(t, url, this.user, 'sender')
    const { client } = steady.device
    steady.device.onMessage = ({ topic, text }) => {
      complaints.add(`${this.user} got ${topic} ${text}`)
      return true
    }
    // 'connect' comes when all of the store is sent again. What is published before is in no store yet, and dies with the connection.
    let resent = false
    // On how many connections that the server may have taken in each open body has gone without an answer.
    const unanswered = new Map<string, number>()
    // The first CONNECT is on its way already: the package sends it while the client is made.
    let reached = true
    client.on('packetsend', ({ cmd }) => {
      if (cmd !== 'connect') return
      const socket = client.stream as Socket
      if (socket.connecting) socket.once('connect', () => { reached = true })
      else reached = true
    })
    client.on('packetreceive', packet => { if (packet.cmd === 'connack' && packet.returnCode !== 0) reached = false })
    client.on('connect', () => { resent = true })
    client.on('close', () => {
      resent = false
      if (!reached) return
      reached = false
      for (const body of this.#open.keys()) {
        const times = (unanswered.get(body) ?? 0) + 1
        unanswered.set(body, times)
        if (times > 1) this.#checker.mayRepeat(body)
      }
    })
    return {
      get connected () { return resent },
      send: (body, topic, payload) => {
        client.publish(topic, payload, { qos: 1 }, cause => {
          if (cause != null) return
          unanswered.delete(body)
          this.#acknowledged(body)
        })
      },
      stop: async () => { await steady.stop() }
    }
  }

  /** A clean session on a bare socket: what is open is sent again from here after a reconnect, in order, under the same cid. */
  #rawLink (t: Test, port: number, complaints: Complaints): Link {
    let client: RawClient | undefined
    const state = { stopped: false }
    const pending = new Map<number, string>()
    const send = (body: string, topic: string, payload: string): void => {
      if (client === undefined) return
      const messageId = client.nextId()
      pending.set(messageId, body)
      client.send({ cmd: 'publish', topic, payload, qos: 1, dup: false, retain: false, messageId })
    }
    const live = async (): Promise<void> => {
      const { client: fresh } = await RawClient.connect(t, port, { user: this.user })
      pending.clear()
      client = fresh
      for (const [body, { topic, payload }] of this.#open) send(body, topic, payload)
      for (;;) {
        const packet = await fresh.packets.take(undefined, 600_000)
        if (packet.cmd === 'publish') complaints.add(`${this.user} got ${packet.topic} ${packet.payload.toString()}`)
        if (packet.cmd !== 'puback') continue
        const body = pending.get(packet.messageId as number)
        if (body !== undefined) this.#acknowledged(body)
      }
    }
    const done = (async () => {
      while (!state.stopped) {
        await live().catch((cause: Error) => { if (!/ECONNREFUSED|ECONNRESET|EPIPE|closed/.test(cause.message)) complaints.add(`${this.user}: ${cause.message}`) })
        client = undefined
        if (!state.stopped) await new Promise(resolve => setTimeout(resolve, 100))
      }
    })()
    const stop = async (): Promise<void> => {
      state.stopped = true
      client?.cut()
      await done
    }
    t.teardown(stop)
    return { get connected () { return client !== undefined }, send, stop }
  }
}
