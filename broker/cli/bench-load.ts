/** The load of `sabethes bench`: pairs of MQTT clients, every message followed to its PUBACK and to its receiver. */
import { randomUUID } from 'node:crypto'
import type { EventEmitter } from 'node:events'
import mqtt from 'mqtt'
import type { MqttClient } from 'mqtt'
import { Topics } from '../topics.ts'
import { BenchPair } from './bench-pair.ts'
import { describe } from './mqtt-client.ts'
import { CommandError } from './terminal.ts'

export interface LoadOptions {
  url: string
  userPrefix: string
  password: string | undefined
  /** First level of the chat topics. */
  prefix: string
  pairs: number
  seconds: number
  /** Messages a second over all pairs; 0 = closed loop. */
  rate: number
  /** SIGINT and SIGTERM end the measurement early. */
  signals: EventEmitter
  /** Milliseconds of a clock that only goes forward. */
  now: () => number
}

/** Milliseconds; `null` when nothing was measured. */
interface Percentiles { p50: number | null, p99: number | null, max: number | null }

export interface Figures {
  /** What was measured, without the warm-up. */
  seconds: number
  /** With the warm-up. */
  sent: number
  delivered: number
  /** Acknowledged, not refused, and not delivered. */
  lost: number
  /** Delivered twice or out of order. */
  repeated: number
  refused: number
  /** The first refusal's reason. */
  refusal?: string
  deliveriesPerSecond: number
  /** From the moment a message was due to its PUBACK; to its arrival at the receiver. */
  pubackMs: Percentiles
  deliveryMs: Percentiles
  /** Share of a core that this process used. */
  ownCpu: number
}

const warmUpMs = 500
const tickMs = 1
const answerTimeoutMs = 10_000

/** Connects, sends for `seconds`, waits for what is under way. Rejects with `Refusal` or `CommandError` when a connection fails. */
export async function measure (options: LoadOptions): Promise<Figures> {
  const measurement = new Measurement(options)
  try {
    return await measurement.run()
  } finally {
    await measurement.close()
  }
}

class Measurement {
  readonly #options: LoadOptions
  readonly #clients: MqttClient[] = []
  readonly #timers: NodeJS.Timeout[] = []
  /** Rejects when a connection fails. */
  readonly #failed: Promise<never>
  /** Resolves at the first signal. */
  readonly #stopped: Promise<void>
  #fail: (error: Error) => void = () => {}
  #stop: () => void = () => {}
  #isClosing = false

  constructor (options: LoadOptions) {
    this.#options = options
    this.#failed = new Promise((_resolve, reject) => { this.#fail = reject })
    // It may fail before anybody waits for it.
    this.#failed.catch(() => {})
    this.#stopped = new Promise(resolve => { this.#stop = resolve })
    options.signals.once('SIGINT', this.#stop)
    options.signals.once('SIGTERM', this.#stop)
  }

  async run (): Promise<Figures> {
    const { now, seconds, rate } = this.#options
    const pairs = await Promise.race([this.#failed, this.#pairs()])
    const start = now()
    const from = start + warmUpMs
    for (const pair of pairs) pair.begin(from, rate === 0)
    this.#timers.push(setInterval(pump(pairs, rate, start, now), tickMs))
    await Promise.race([this.#failed, this.#stopped, this.#after(warmUpMs)])
    const cpu = process.cpuUsage()
    const before = sum(pairs, pair => pair.delivered)
    await Promise.race([this.#failed, this.#stopped, this.#after(seconds * 1000)])
    for (const pair of pairs) pair.end()
    const measuredMs = Math.max(1, now() - from)
    const deliveriesPerSecond = (sum(pairs, pair => pair.delivered) - before) / measuredMs * 1000
    const { user, system } = process.cpuUsage(cpu)
    await Promise.race([this.#failed, this.#after(answerTimeoutMs), Promise.all(pairs.map(pair => pair.settled()))])
    return figures(pairs, measuredMs, deliveriesPerSecond, (user + system) / 1000)
  }

  async close (): Promise<void> {
    this.#isClosing = true
    for (const timer of this.#timers) clearTimeout(timer)
    this.#options.signals.off('SIGINT', this.#stop)
    this.#options.signals.off('SIGTERM', this.#stop)
    await Promise.all(this.#clients.map(client => client.endAsync(true)))
  }

  #pairs (): Promise<BenchPair[]> {
    const { pairs, prefix, userPrefix, now } = this.#options
    const run = randomUUID().slice(0, 8)
    return Promise.all(Array.from({ length: pairs }, async (_, index) => {
      const user = `${userPrefix}r${index + 1}`
      const receiver = await this.#open(user)
      await receiver.subscribeAsync(new Topics(prefix).inbox(user), { qos: 1 })
      return new BenchPair(await this.#open(`${userPrefix}s${index + 1}`), receiver, `${prefix}/to/u/${user}`, run, now)
    }))
  }

  async #open (user: string): Promise<MqttClient> {
    const { url, password } = this.#options
    const client = mqtt.connect(url, {
      protocolVersion: 5, username: user, ...(password === undefined ? {} : { password }), clientId: `bench-${randomUUID().slice(0, 13)}`, connectTimeout: answerTimeoutMs, reconnectPeriod: 0
    })
    this.#clients.push(client)
    client.on('error', error => { this.#fail(describe(error, url)) })
    client.on('close', () => { if (!this.#isClosing) this.#fail(new CommandError(`${url} closed the connection of ${user}`)) })
    await new Promise<void>(resolve => { client.once('connect', () => { resolve() }) })
    return client
  }

  #after (ms: number): Promise<void> {
    return new Promise(resolve => { this.#timers.push(setTimeout(resolve, ms)) })
  }
}

/** What sends in each tick. */
function pump (pairs: readonly BenchPair[], rate: number, start: number, now: () => number): () => void {
  let next = 0
  const msPerMessage = 1000 / rate
  return () => {
    const at = now()
    // Also in the closed loop: pairs that paused after a refusal.
    if (rate === 0) for (const pair of pairs) pair.fill()
    else for (; start + next * msPerMessage <= at; next++) (pairs[next % pairs.length] as BenchPair).send(start + next * msPerMessage)
  }
}

function figures (pairs: readonly BenchPair[], measuredMs: number, deliveriesPerSecond: number, cpuMs: number): Figures {
  const refusal = pairs.find(pair => pair.refusal !== undefined)?.refusal
  return {
    seconds: measuredMs / 1000,
    sent: sum(pairs, pair => pair.sent),
    delivered: sum(pairs, pair => pair.delivered),
    lost: sum(pairs, pair => pair.sent - pair.refused - pair.delivered),
    repeated: sum(pairs, pair => pair.repeated),
    refused: sum(pairs, pair => pair.refused),
    ...(refusal === undefined ? {} : { refusal }),
    deliveriesPerSecond,
    pubackMs: percentiles(pairs.flatMap(pair => pair.pubackMs)),
    deliveryMs: percentiles(pairs.flatMap(pair => pair.deliveryMs)),
    ownCpu: cpuMs / measuredMs
  }
}

function sum (pairs: readonly BenchPair[], of: (pair: BenchPair) => number): number { return pairs.reduce((total, pair) => total + of(pair), 0) }

function percentiles (values: readonly number[]): Percentiles {
  const sorted = Float64Array.from(values).sort()
  const rank = (share: number): number | null => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? null
  return { p50: rank(0.5), p99: rank(0.99), max: rank(1) }
}
