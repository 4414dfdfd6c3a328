/** One sender to a group whose members are all online: the cost of a copy. */
import { Connection } from '../connection.ts'
import { Publisher, Receiver } from '../load.ts'
import type { Peer, RunningPeer } from '../peers/peer.ts'
import { settle } from './pairs.ts'
import { measureRate } from './rate.ts'
import { generatorLimit, openMany, round } from './scenario.ts'
import type { Round, Scenario, Settings } from './scenario.ts'

/** One sender to a group of `members`, the first `online` of which are connected. */
export async function fanOut (peer: Peer, running: RunningPeer, settings: Settings, members: number, online: number): Promise<Round> {
  const { window } = settings
  const { port } = running
  const users = Array.from({ length: members }, (_, index) => `m${index}`)
  await peer.createGroups(port, 'sender', new Map([['bench', users]]))
  let lost: string | undefined
  const watch = (connection: Connection) => { connection.onLost = reason => { lost ??= `${connection.user}: connection lost: ${reason}` } }
  const receivers = await openMany(online, async index => {
    const connection = await Connection.open({ port, user: users[index] as string, protocol: peer.protocol, prepare: watch })
    const receiver = new Receiver(connection, peer.systemMark)
    await connection.subscribe([...peer.groups(['bench']), ...peer.beside?.(users[index] as string) ?? []])
    return receiver
  })
  const sender = await Connection.open({ port, user: 'sender', protocol: peer.protocol, prepare: watch })
  const publisher = new Publisher(sender, {
    topics: [peer.toGroup('bench')], stream: 0, body: settings.body, payloadBytes: settings.payloadBytes, window
  })
  let total = 0
  let on = true
  // A new message when one has reached everybody: a broker that acknowledges at once and queues must not win by it.
  const refill = () => {
    if (!on) return
    const room = Math.floor(total / online) + window - publisher.published
    if (room > 0) publisher.send(room)
  }
  sender.onRead = refill
  for (const receiver of receivers) {
    receiver.onMessage = () => { total++ }
    receiver.connection.onRead = refill
  }
  refill()
  const { metrics, usage } = await measureRate(running, settings, receivers)
  on = false
  const fault = lost ?? await settle([publisher], receivers, online)
  await Promise.all([sender, ...receivers.map(receiver => receiver.connection)].map(connection => connection.close()))
  return round(metrics, usage, fault, generatorLimit(usage))
}

export const fanout: Scenario = {
  name: 'fanout',
  headline: 'deliveries_per_s',
  better: 'higher',
  describe: s => `a group of ${s.members} online members, one sender, ${s.window} messages under way, ${s.payloadBytes} B ${s.body}`,
  run: (peer, running, settings) => fanOut(peer, running, settings, settings.members, settings.members)
}
