/** Publisher i to subscriber i, as fast as the windows allow: the rate of one-to-one messages. */
import { Connection } from '../connection.ts'
import { Publisher, Receiver, faults } from '../load.ts'
import type { Peer } from '../peers/peer.ts'
import { measureRate } from './rate.ts'
import { generatorLimit, openMany, round, until } from './scenario.ts'
import type { Scenario, Settings } from './scenario.ts'

/** A publisher pauses when its receiver is this many windows behind, so that no broker is measured by how much it can buffer. */
const lagWindows = 50

export interface Pairs { publishers: Publisher[], receivers: Receiver[], lost: () => string | undefined, close: () => Promise<void> }

/** Opens `settings.pairs` pairs, receivers subscribed. `port`: where all connect, or each side of each pair. */
export async function openPairs (peer: Peer, port: number | ((pair: number, side: 'publisher' | 'receiver') => number), settings: Settings, window: number): Promise<Pairs> {
  let lost: string | undefined
  const portOf = typeof port === 'number' ? () => port : port
  const watch = (connection: Connection) => {
    connection.onLost = reason => { lost ??= `${connection.user}: connection lost: ${reason}` }
  }
  const receivers = await openMany(settings.pairs, async index => {
    const connection = await Connection.open({ port: portOf(index, 'receiver'), user: `b${index}`, timeoutMs: 30_000, protocol: peer.protocol, websocket: settings.websocket, tls: settings.tls, prepare: watch })
    const receiver = new Receiver(connection, peer.systemMark)
    await connection.subscribe([peer.inbox(`b${index}`), ...peer.beside?.(`b${index}`) ?? []])
    return receiver
  })
  const publishers = await openMany(settings.pairs, async index => {
    const connection = await Connection.open({ port: portOf(index, 'publisher'), user: `a${index}`, timeoutMs: 30_000, protocol: peer.protocol, websocket: settings.websocket, tls: settings.tls, prepare: watch })
    return new Publisher(connection, {
      topics: [peer.toUser(`b${index}`)], stream: index, body: settings.body, payloadBytes: settings.payloadBytes, window
    })
  })
  return {
    publishers,
    receivers,
    lost: () => lost,
    async close () { await Promise.all([...publishers, ...receivers].map(side => side.connection.close())) }
  }
}

/** Waits until everything published is acknowledged and received; answers what is wrong then. */
export async function settle (publishers: readonly Publisher[], receivers: readonly Receiver[], copies: number): Promise<string | undefined> {
  const sum = (numbers: number[]) => numbers.reduce((a, b) => a + b, 0)
  const acked = () => sum(publishers.map(p => p.acked))
  const received = () => sum(receivers.map(r => r.received))
  const published = sum(publishers.map(p => p.published))
  const whole = await until(() => acked() === published && received() >= published * copies, 10_000, () => acked() + received())
  const wrong = faults(publishers, receivers)
  if (wrong !== undefined) return wrong
  return whole ? undefined : `${published * copies - received()} of ${published * copies} never arrived`
}

export const pairs: Scenario = {
  name: 'pairs',
  headline: 'deliveries_per_s',
  better: 'higher',
  describe: s => `${s.pairs} pairs, QoS 1 both ways, ${s.payloadBytes} B ${s.body}, window ${s.window}`,
  async run (peer, running, settings) {
    const { publishers, receivers, lost, close } = await openPairs(peer, running.port, settings, settings.window)
    const maxLag = settings.window * lagWindows
    let on = true
    const refills = publishers.map((publisher, index) => {
      const receiver = receivers[index] as Receiver
      let held = false
      const refill = () => {
        if (!on) return
        const lagRoom = maxLag - (publisher.published - receiver.received)
        held = lagRoom < publisher.room
        if (publisher.room > 0 && lagRoom > 0) publisher.send(lagRoom)
      }
      publisher.connection.onRead = refill
      receiver.connection.onRead = () => { if (held) refill() }
      return refill
    })
    for (const refill of refills) refill()
    const { metrics, usage } = await measureRate(running, settings, receivers)
    on = false
    const fault = lost() ?? await settle(publishers, receivers, 1)
    await close()
    return round(metrics, usage, fault, generatorLimit(usage))
  }
}
