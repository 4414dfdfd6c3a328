/** A chat client of the command line: requests, messages and refusals over MQTT 5. */
import { randomUUID } from 'node:crypto'
import mqtt from 'mqtt'
import type { IClientOptions, IPublishPacket, MqttClient, Packet } from 'mqtt'
import { codes, Refusal, type Code } from '../errors.ts'
import { Topics } from '../topics.ts'
import { CommandError } from './terminal.ts'

export interface ChatOptions {
  /** `mqtt://127.0.0.1:1883`; also `mqtts`, `ws` and `wss`. */
  url: string
  user: string
  password: string | undefined
  prefix: string
  /** How long the connection and each answer may take, milliseconds. */
  timeoutMs: number
  /** With a client id the session is persistent; without one it ends with the connection. */
  clientId?: string
  /** Comes back by itself after a cut connection. */
  reconnect?: boolean
  /** Everything that arrives, except answers to requests. `false` = not taken: it is not acknowledged and will come again. */
  onMessage?: (topic: string, payload: string) => boolean
  /** The connection was cut (and is tried again with `reconnect`); `undefined` = it is back; a `Refusal` is final. */
  onConnection?: (trouble: Error | undefined) => void
}

/** Where the server stored a message; members are missing when it does not say. */
export interface Receipt { cid: string, id?: string, seq?: number }

/** A refusal as it arrives on the notice topic. */
interface Notice { kind?: string, code?: string, reason?: string, retryAfterMs?: number, ref?: { topic?: string, cid?: string, rid?: string } }

/** Seconds that the session of a client with a name outlives its connection; the server may shorten it. */
const sessionExpirySeconds = 2_592_000
const reconnectPeriodMs = 1000

export class ChatClient {
  readonly #options: ChatOptions
  readonly #topics: Topics
  readonly #client: MqttClient
  readonly #answers = new Map<string, (answer: Record<string, unknown>) => void>()
  readonly #notices: Notice[] = []
  #acknowledged: Packet | undefined
  /** Why the server closed the connection, when it said so. */
  #goodbye: string | undefined
  #isClosing = false
  #isUnanswered = false

  private constructor (options: ChatOptions) {
    this.#options = options
    this.#topics = new Topics(options.prefix)
    const { url, user, password, timeoutMs, clientId, reconnect } = options
    const settings: IClientOptions = {
      protocolVersion: 5,
      username: user,
      ...(password === undefined ? {} : { password }),
      clientId: clientId ?? `cli-${randomUUID().slice(0, 13)}`,
      clean: clientId === undefined,
      ...(clientId === undefined ? {} : { properties: { sessionExpiryInterval: sessionExpirySeconds } }),
      connectTimeout: timeoutMs,
      reconnectPeriod: reconnect === true ? reconnectPeriodMs : 0
    }
    this.#client = mqtt.connect(url, settings)
    // An error here means: no PUBACK; the client goes on with the next packet.
    this.#client.handleMessage = ({ topic, payload }, done) => {
      const isTaken = this.#receive(topic, payload.toString('utf8'))
      done(isTaken ? undefined : new Error('not taken'))
    }
    // Whoever waits hears of it as well; a late one, after the end, must not end the process.
    this.#client.on('error', error => { this.#goodbye ??= error.message })
    this.#client.on('packetreceive', packet => {
      if (packet.cmd === 'puback') this.#acknowledged = packet
      if (packet.cmd === 'disconnect') this.#goodbye = packet.properties?.reasonString ?? `reason code 0x${(packet.reasonCode ?? 0).toString(16)}`
    })
  }

  /** Rejects with `Refusal` (`unauthorized`, `banned`) or `CommandError`. */
  static async connect (options: ChatOptions): Promise<ChatClient> {
    const chat = new ChatClient(options)
    const client = chat.#client
    try {
      await chat.#untilClosed<void>(`no answer from ${options.url}`, settle => { client.once('connect', () => { settle() }) })
    } catch (error) {
      await client.endAsync(true)
      throw error
    }
    client.on('error', error => { if (!chat.#isClosing) options.onConnection?.(describe(error, options.url)) })
    client.on('close', () => { if (!chat.#isClosing) options.onConnection?.(new CommandError(chat.#goodbye ?? 'the connection was cut')) })
    client.on('connect', () => {
      chat.#goodbye = undefined
      options.onConnection?.(undefined)
    })
    return chat
  }

  get topics (): Topics { return this.#topics }

  /** Subscribes at QoS 1; rejects when the server refuses one. */
  async subscribe (filters: string[]): Promise<void> {
    await this.#untilClosed<void>('no answer to SUBSCRIBE', (settle, fail) => {
      this.#client.subscribe(filters, { qos: 1 }, error => { if (error) fail(new CommandError(error.message)); else settle() })
    })
  }

  /** A request `{prefix}/rpc/{method}`; resolves to its result, rejects with the `Refusal` it was answered with. */
  async request (method: string, params: Record<string, unknown>): Promise<unknown> {
    const rid = randomUUID()
    try {
      const answer = await this.#untilClosed<Record<string, unknown>>(`no answer to ${method}`, (settle, fail) => {
        this.#answers.set(rid, settle)
        this.#publish(`${this.#options.prefix}/rpc/${method}`, { ...params, rid }, notice => notice.ref?.rid === rid).catch(fail)
      })
      if (answer['ok'] === true) return answer['result']
      throw refusal(answer)
    } finally {
      this.#answers.delete(rid)
    }
  }

  /** Publishes a message; resolves when the server stored it. */
  async send (to: { kind: 'user' | 'group', id: string }, message: { cid: string, type: string, body: unknown }): Promise<Receipt> {
    const topic = `${this.#options.prefix}/to/${to.kind === 'user' ? 'u' : 'g'}/${to.id}`
    await this.#publish(topic, message, notice => notice.ref?.cid === message.cid)
    const properties = (this.#acknowledged as IPublishPacket | undefined)?.properties?.userProperties
    const text = (name: string): string | undefined => [properties?.[name]].flat()[0]
    const id = text('id')
    const seq = Number(text('seq') ?? NaN)
    return { cid: message.cid, ...(id === undefined ? {} : { id }), ...(Number.isInteger(seq) ? { seq } : {}) }
  }

  async close (): Promise<void> {
    this.#isClosing = true
    // With something unanswered, a graceful end would wait for the answer.
    await this.#client.endAsync(this.#isUnanswered || !this.#client.connected)
  }

  /** One publish at a time: the notice of a refusal comes before its PUBACK. */
  async #publish (topic: string, payload: unknown, isMine: (notice: Notice) => boolean): Promise<void> {
    this.#notices.length = 0
    this.#acknowledged = undefined
    let failure: Error | undefined
    await this.#untilClosed<void>('the server did not acknowledge', settle => {
      this.#client.publish(topic, JSON.stringify(payload), { qos: 1 }, error => {
        failure = error ?? undefined
        settle()
      })
    })
    const notice = this.#notices.find(isMine)
    if (notice !== undefined) throw refusal(notice)
    if (failure !== undefined) {
      const said = (this.#acknowledged as IPublishPacket | undefined)?.properties as { reasonString?: string } | undefined
      throw new CommandError(said?.reasonString ?? failure.message)
    }
  }

  #receive (topic: string, payload: string): boolean {
    const { user, onMessage } = this.#options
    const answers = this.#topics.answer(user, '')
    const value = topic.startsWith(answers) || topic === this.#topics.notice(user) ? parse(payload) : undefined
    const settle = topic.startsWith(answers) ? this.#answers.get(topic.slice(answers.length)) : undefined
    if (settle !== undefined && value !== undefined) {
      settle(value)
      return true
    }
    if (value?.['kind'] === 'reject') this.#notices.push(value as Notice)
    // Without a reader nothing was subscribed to: what comes is for this session alone.
    return onMessage?.(topic, payload) ?? true
  }

  /** A promise that also ends when the connection does, or after the time that is allowed. */
  #untilClosed<T> (late: string, start: (settle: (value: T) => void, fail: (error: Error) => void) => void): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const client = this.#client
      const { timeoutMs, url } = this.#options
      const end = (): void => {
        clearTimeout(timer)
        client.off('close', onClose)
        client.off('error', onError)
      }
      const fail = (error: Error): void => {
        this.#isUnanswered = true
        end()
        reject(error)
      }
      const onClose = (): void => { fail(new CommandError(`${url} closed the connection${this.#goodbye === undefined ? '' : `: ${this.#goodbye}`}`)) }
      const onError = (error: Error): void => { fail(describe(error, url)) }
      const timer = setTimeout(() => { fail(new CommandError(`${late} within ${timeoutMs} ms`)) }, timeoutMs)
      client.on('close', onClose)
      client.on('error', onError)
      start(value => {
        end()
        resolve(value)
      }, fail)
    })
  }
}

function parse (payload: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(payload)
    return typeof value === 'object' && value !== null ? value as Record<string, unknown> : undefined
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

function refusal ({ code, reason, retryAfterMs }: Notice): Refusal {
  const known: Code = code !== undefined && Object.hasOwn(codes, code) ? code as Code : 'internal'
  return new Refusal(known, reason ?? codes[known].text, retryAfterMs)
}

/** CONNACK reason codes of MQTT 5 (section 3.2.2.2) that people meet. */
const connackCodes = new Map<number, Code>([[0x86, 'unauthorized'], [0x87, 'unauthorized'], [0x8a, 'banned'], [0x9f, 'rate_limited'], [0x97, 'rate_limited'], [0x88, 'unavailable'], [0x89, 'unavailable']])

/** What went wrong with a connection, for people: a `Refusal` when the server did not let the user in. */
export function describe (error: Error, url: string): Error {
  const { code, errors } = error as { code?: string | number, errors?: Array<{ code?: string }> }
  const refused = typeof code === 'number' ? connackCodes.get(code) : undefined
  if (refused === 'unauthorized') return new Refusal('unauthorized', 'wrong user name or password (--user, --password-file, SABETHES_PASSWORD)')
  if (refused !== undefined) return new Refusal(refused)
  if (code === 'ECONNREFUSED' || errors?.[0]?.code === 'ECONNREFUSED') return new CommandError(`no server answers at ${url}: start one with 'sabethes', or name another with --url`)
  return new CommandError(`${url}: ${error.message}`, 1, { cause: error })
}
