/** The API over HTTP beside MQTT, one after the other on the same server: sending, listening, and what an idle listener costs. */
import { HttpSender, StreamReader } from '../http-load.ts'
import { Connection } from '../connection.ts'
import { Publisher, Receiver } from '../load.ts'
import { Latencies, Meter, wait, type Usage } from '../meter.ts'
import type { Peer, RunningPeer } from '../peers/peer.ts'
import { generatorLimit, openMany, round, until, withoutPlain } from './scenario.ts'
import type { Scenario, Settings } from './scenario.ts'

/** As in `pairs`: windows that a receiver may be behind. */
const lagWindows = 50
/** Opened and closed before memory is read, so that code and pools are not counted as streams. */
const rehearsals = 100
const settleMs = 10_000

interface Phase { perSecond: number, perCpuSecond: number, usage: Usage }

async function measured (running: RunningPeer, settings: Settings, count: () => number): Promise<Phase> {
  await wait(settings.warmUpSeconds * 1000)
  const from = count()
  const meter = new Meter(running.process, settings)
  await wait(settings.seconds * 1000)
  const usage = meter.read()
  const perSecond = (count() - from) / usage.seconds
  return { perSecond, perCpuSecond: perSecond / usage.brokerCpu, usage }
}

/** Each waits for the answer before it sends again: what a client has that knows no better. */
async function sending (running: RunningPeer, settings: Settings): Promise<{ phase: Phase, latencies: Latencies, fault: string | undefined }> {
  const latencies = new Latencies(65_536)
  let on = true
  const senders = await openMany(settings.pairs, index => HttpSender.open(running.wsPort, `h${index}`, `hb${index}`, index, settings.body, settings.payloadBytes))
  for (const sender of senders) {
    sender.onAnswer = ms => {
      latencies.add(ms)
      if (on && sender.fault === undefined) sender.send()
    }
    sender.send()
  }
  const acked = (): number => senders.reduce((sum, sender) => sum + sender.acked, 0)
  const phase = await measured(running, settings, acked)
  on = false
  const whole = await until(() => senders.every(({ sent, acked }) => sent === acked), settleMs)
  const fault = senders.find(sender => sender.fault !== undefined)?.fault ?? (whole ? undefined : 'requests without an answer')
  for (const sender of senders) sender.close()
  return { phase, latencies, fault }
}

/** The same with MQTT: one message that is not acknowledged. */
async function publishing (peer: Peer, running: RunningPeer, settings: Settings): Promise<{ phase: Phase, latencies: Latencies }> {
  const latencies = new Latencies(65_536)
  let on = true
  const publishers = await openMany(settings.pairs, async index => {
    const connection = await Connection.open({ port: running.port, user: `m${index}` })
    return new Publisher(connection, { topics: [peer.toUser(`mb${index}`)], stream: index, body: settings.body, payloadBytes: settings.payloadBytes, window: 1 })
  })
  for (const publisher of publishers) {
    let at = performance.now()
    publisher.connection.onRead = () => {
      if (publisher.room === 0 || !on) return
      const now = performance.now()
      latencies.add(now - at)
      at = now
      publisher.send(1)
    }
    publisher.send(1)
  }
  const phase = await measured(running, settings, () => publishers.reduce((sum, { acked }) => sum + acked, 0))
  on = false
  await until(() => publishers.every(({ room }) => room === 1), settleMs)
  await Promise.all(publishers.map(({ connection }) => connection.close()))
  return { phase, latencies }
}

interface Reads { readonly received: number, onMore: (() => void) | undefined }

/** As `pairs`, to listeners of one kind. */
async function listening (peer: Peer, running: RunningPeer, settings: Settings, prefix: string, readers: readonly Reads[]): Promise<{ phase: Phase, fault: string | undefined }> {
  const publishers = await openMany(readers.length, async index => {
    const connection = await Connection.open({ port: running.port, user: `${prefix}a${index}` })
    return new Publisher(connection, { topics: [peer.toUser(`${prefix}${index}`)], stream: index, body: settings.body, payloadBytes: settings.payloadBytes, window: settings.window })
  })
  let on = true
  for (const [index, publisher] of publishers.entries()) {
    const reader = readers[index] as Reads
    const refill = (): void => {
      const room = settings.window * lagWindows - (publisher.published - reader.received)
      if (on && publisher.room > 0 && room > 0) publisher.send(room)
    }
    publisher.connection.onRead = refill
    reader.onMore = refill
    refill()
  }
  const received = (): number => readers.reduce((sum, reader) => sum + reader.received, 0)
  const phase = await measured(running, settings, received)
  on = false
  const published = publishers.reduce((sum, publisher) => sum + publisher.published, 0)
  const whole = await until(() => received() >= published, settleMs, received)
  await Promise.all(publishers.map(({ connection }) => connection.close()))
  return { phase, fault: whole ? undefined : `${published - received()} of ${published} never arrived (${prefix})` }
}

async function openStreams (running: RunningPeer, count: number, prefix: string): Promise<StreamReader[]> {
  const streams = await openMany(count, index => StreamReader.open(running.wsPort, `${prefix}${index}`))
  if (!await until(() => streams.every(({ ready }) => ready), settleMs)) throw new Error('streams that do not begin')
  return streams
}

/** Kilobytes of an idle stream. */
async function memory (running: RunningPeer, streams: number): Promise<number> {
  for (const stream of await openStreams(running, rehearsals, 'r')) stream.close()
  const before = await running.process.settledRssBytes()
  const open = await openStreams(running, streams, 'i')
  const after = await running.process.settledRssBytes()
  for (const stream of open) stream.close()
  return (after - before) / streams / 1000
}

export const http: Scenario = {
  name: 'http',
  headline: 'sse_deliveries_per_s',
  better: 'higher',
  reference: 'sabethes',
  without: withoutPlain('has no API over HTTP'),
  describe: s => `${s.pairs} senders with one message at a time over HTTP and over MQTT; ${s.pairs} pairs as in pairs, to event streams and to MQTT; 1,000 idle streams`,
  async run (peer, running, settings) {
    const rssPerStream = await memory(running, 1000)
    const posted = await sending(running, settings)
    const published = await publishing(peer, running, settings)
    const streams = await openStreams(running, settings.pairs, 's')
    const sse = await listening(peer, running, settings, 's', streams)
    const wrong = streams.reduce((sum, { wrong }) => sum + wrong, 0)
    const lost = streams.find(({ fault }) => fault !== undefined)?.fault
    for (const stream of streams) stream.close()
    const receivers = await openMany(settings.pairs, async index => {
      const connection = await Connection.open({ port: running.port, user: `q${index}` })
      const receiver = new Receiver(connection, peer.systemMark)
      const reads: Reads = { get received () { return receiver.received }, onMore: undefined }
      connection.onRead = () => { reads.onMore?.() }
      await connection.subscribe([peer.inbox(`q${index}`)])
      return { connection, reads }
    })
    const mqtt = await listening(peer, running, settings, 'q', receivers.map(({ reads }) => reads))
    await Promise.all(receivers.map(({ connection }) => connection.close()))
    return round({
      http_sends_per_s: posted.phase.perSecond,
      mqtt_sends_per_s: published.phase.perSecond,
      http_sends_of_mqtt_per_cpu: posted.phase.perCpuSecond / published.phase.perCpuSecond,
      ...posted.latencies.summary('http'),
      ...published.latencies.summary('mqtt'),
      sse_deliveries_per_s: sse.phase.perSecond,
      mqtt_deliveries_per_s: mqtt.phase.perSecond,
      sse_of_mqtt_per_cpu: sse.phase.perCpuSecond / mqtt.phase.perCpuSecond,
      rss_per_stream_kb: rssPerStream
    }, sse.phase.usage, posted.fault ?? lost ?? sse.fault ?? mqtt.fault ?? (wrong > 0 ? `${wrong} messages out of order` : undefined), generatorLimit(sse.phase.usage))
  }
}
