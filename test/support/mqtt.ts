/** Promise wrappers over the `mqtt` package, for tests that speak as its users do. */
import { setTimeout as sleep } from 'node:timers/promises'
import mqtt from 'mqtt'
import type { IClientOptions, IConnackPacket, IPublishPacket, MqttClient } from 'mqtt'
import type { Test } from 'tap'
import { Mailbox, within } from './mailbox.ts'
import { checkResult } from './results.ts'

export interface DeviceOptions {
  user?: string
  password?: string
  clientId?: string
  clean?: boolean
  version?: 4 | 5
  options?: IClientOptions
}

export interface Received { topic: string, text: string, packet: IPublishPacket }
/** What became of a publish: no error, or the error with its MQTT 5 reason code. */
export interface Published { error?: Error, reasonCode?: number }

export class Device {
  readonly client: MqttClient
  readonly user: string
  readonly mail: Mailbox<Received>
  /** Called for each message before it is queued; when it returns true the message is not queued. */
  onMessage: ((message: Received) => boolean) | undefined
  connack: IConnackPacket | undefined

  constructor (url: string, options: DeviceOptions) {
    this.user = options.user ?? ''
    this.mail = new Mailbox(`${this.user}/${options.clientId ?? ''}`)
    this.client = mqtt.connect(url, {
      reconnectPeriod: 0,
      connectTimeout: 10_000,
      protocolVersion: options.version ?? 4,
      clean: options.clean ?? true,
      resubscribe: false,
      ...options.user !== undefined && { username: options.user },
      ...options.password !== undefined && { password: options.password },
      ...options.clientId !== undefined && { clientId: options.clientId },
      ...options.options
    })
    this.client.on('connect', packet => { this.connack = packet })
    this.client.on('message', (topic, payload, packet) => {
      const message = { topic, text: payload.toString(), packet }
      if (this.onMessage?.(message) !== true) this.mail.put(message)
    })
    // Failures reach the test through `connected`, `publish` and `subscribe`; without a listener they would end the process.
    this.client.on('error', cause => { this.lastError = cause })
  }

  lastError: Error | undefined

  /** Resolves at the CONNACK; rejects when the server refuses or the connection fails. */
  async connected (): Promise<this> {
    if (!this.client.connected) {
      await within(new Promise<void>((resolve, reject) => {
        this.client.once('connect', () => resolve())
        this.client.once('error', reject)
        this.client.once('close', () => reject(this.lastError ?? new Error('the connection closed before CONNACK')))
      }), (this.client.options.connectTimeout ?? 10_000) + 5_000, `the connection of ${this.user}`)
    }
    return this
  }

  get sessionPresent (): boolean { return this.connack?.sessionPresent === true }

  async publish (topic: string, payload: string | Buffer | object, options: mqtt.IClientPublishOptions = {}): Promise<Published> {
    const bytes = typeof payload === 'string' || Buffer.isBuffer(payload) ? payload : JSON.stringify(payload)
    return await within(new Promise<Published>(resolve => {
      this.client.publish(topic, bytes, { qos: 1, ...options }, (cause, packet) => {
        const code = (packet as { reasonCode?: number } | undefined)?.reasonCode
        resolve({ ...cause != null && { error: cause }, ...code !== undefined && { reasonCode: code } })
      })
    }), 20_000, `the acknowledgement of ${topic}`)
  }

  /** The codes of the SUBACK. */
  async subscribe (filters: string | string[], qos: 0 | 1 | 2 = 1): Promise<number[]> {
    const map = Object.fromEntries([filters].flat().map(filter => [filter, { qos }]))
    return await new Promise((resolve, reject) => {
      this.client.subscribe(map, (cause, granted, packet) => {
        const codes = packet?.granted as number[] | undefined
        if (codes !== undefined) resolve(codes)
        else if (cause != null) reject(cause)
        else resolve((granted ?? []).map(one => one.qos))
      })
    })
  }

  /** The next message of a topic (the next of all when none is given). */
  async next (topic?: string, timeoutMs?: number): Promise<Received> {
    return await this.mail.take(message => topic === undefined || message.topic === topic, timeoutMs, topic)
  }

  /** The next message of a topic, as JSON. */
  async nextJson (topic?: string, timeoutMs?: number): Promise<Record<string, unknown>> {
    return JSON.parse((await this.next(topic, timeoutMs)).text) as Record<string, unknown>
  }

  #rid = 0
  /** A request over plain topics; resolves with the whole answer: `{rid, ok, result | code, reason}`, the result held against its schema. */
  async ask (method: string, params: Record<string, unknown> = {}): Promise<Record<string, unknown>> {
    const rid = `r${++this.#rid}`
    await this.publish(`im/rpc/${method}`, { rid, ...params })
    const answer = await this.nextJson(`im/u/${this.user}/rpc/${rid}`)
    if (answer.ok === true) checkResult(method, answer.result)
    return answer
  }

  /** As `ask`, but rejects unless the answer is ok; resolves with the result. */
  async result<T = Record<string, unknown>> (method: string, params: Record<string, unknown> = {}): Promise<T> {
    const answer = await this.ask(method, params)
    if (answer.ok !== true) throw new Error(`${method}: ${JSON.stringify(answer)}`)
    return answer.result as T
  }

  /** Ends the connection with DISCONNECT. */
  async end (): Promise<void> { await this.client.endAsync() }
  /** Ends the connection without a word. */
  async drop (): Promise<void> { await this.client.endAsync(true) }
}

/** Connects a user's device; it is closed when the test ends. */
export async function device (t: Test, url: string, user: string, options: DeviceOptions = {}): Promise<Device> {
  const one = new Device(url, { user, ...options })
  t.teardown(async () => { await one.drop() })
  return await one.connected()
}

/** As `device`, but tries again, for a minute, while the server says that it is not available just now: for servers to which much happens. */
export async function patientDevice (t: Test, url: string, user: string, options: DeviceOptions = {}): Promise<Device> {
  const until = performance.now() + 60_000
  for (;;) {
    try {
      return await device(t, url, user, { ...options, options: { connectTimeout: 30_000, ...options.options } })
    } catch (error) {
      const { code } = error as { code?: number }
      if (performance.now() > until || (code !== unavailable[4] && code !== unavailable[5])) throw error
      await sleep(200)
    }
  }
}

/** Codes of CONNACK, by version. */
const unavailable = { 4: 0x03, 5: 0x88 }
