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
  const { url, now, signals, seconds } = options
  const clients: MqttClient[] = []
  let isClosing = false
  let fail: (error: Error) => void = () => {}
  const failed = new Promise<never>((_resolve, reject) => { fail = reject })
  // It may fail before anybody waits for it.
  failed.catch(() => {})
  const open = async (user: string): Promise<MqttClient> => {
    const { password } = options
    const client = mqtt.connect(url, {
      protocolVersion: 5, username: user, ...(password === undefined ? {} : { password }), clientId: `bench-${randomUUID().slice(0, 13)}`, connectTimeout: answerTimeoutMs, reconnectPeriod: 0
    })
    clients.push(client)
    client.on('error', error => { fail(describe(error, url)) })
    client.on('close', () => { if (!isClosing) fail(new CommandError(`${url} closed the connection of ${user}`)) })
    await new Promise<void>(resolve => { client.once('connect', () => { resolve() }) })
    return client
  }
  let stop: () => void = () => {}
  const stopped = new Promise<void>(resolve => { stop = resolve })
  signals.once('SIGINT', stop)
  signals.once('SIGTERM', stop)
  const timers: NodeJS.Timeout[] = []
  const after = (ms: number): Promise<void> => new Promise(resolve => { timers.push(setTimeout(resolve, ms)) })
  try {
    const run = randomUUID().slice(0, 8)
    const pairs = await Promise.race([failed, Promise.all(Array.from({ length: options.pairs }, async (_, index) => {
      const topics = new Topics(options.prefix)
      const user = `${options.userPrefix}r${index + 1}`
      const receiver = await open(user)
      await receiver.subscribeAsync(topics.inbox(user), { qos: 1 })
      return new BenchPair(await open(`${options.userPrefix}s${index + 1}`), receiver, `${options.prefix}/to/u/${user}`, run, now)
    }))])
    const start = now()
    const from = start + warmUpMs
    for (const pair of pairs) pair.begin(from, options.rate === 0)
    let next = 0
    const msPerMessage = 1000 / options.rate
    const pump = (): void => {
      const at = now()
      // Also in the closed loop: pairs that paused after a refusal.
      if (options.rate === 0) for (const pair of pairs) pair.fill()
      else for (; start + next * msPerMessage <= at; next++) (pairs[next % pairs.length] as BenchPair).send(start + next * msPerMessage)
    }
    timers.push(setInterval(pump, tickMs))
    await Promise.race([failed, stopped, after(warmUpMs)])
    const cpu = process.cpuUsage()
    const before = sum(pairs, pair => pair.delivered)
    await Promise.race([failed, stopped, after(seconds * 1000)])
    for (const pair of pairs) pair.end()
    const measuredMs = Math.max(1, now() - from)
    const deliveriesPerSecond = (sum(pairs, pair => pair.delivered) - before) / measuredMs * 1000
    const { user, system } = process.cpuUsage(cpu)
    await Promise.race([failed, after(answerTimeoutMs), Promise.all(pairs.map(pair => pair.settled()))])
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
      ownCpu: (user + system) / 1000 / measuredMs
    }
  } finally {
    isClosing = true
    for (const timer of timers) clearTimeout(timer)
    signals.off('SIGINT', stop)
    signals.off('SIGTERM', stop)
    await Promise.all(clients.map(client => client.endAsync(true)))
  }
}

function sum (pairs: readonly BenchPair[], of: (pair: BenchPair) => number): number { return pairs.reduce((total, pair) => total + of(pair), 0) }

function percentiles (values: readonly number[]): Percentiles {
  const sorted = Float64Array.from(values).sort()
  const rank = (share: number): number | null => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? null
  return { p50: rank(0.5), p99: rank(0.99), max: rank(1) }
}
