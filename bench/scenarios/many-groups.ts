/** Many groups of 50 over the same users, a sender for every twenty groups: fan-out with little to share. */
import { Connection } from '../connection.ts'
import { Publisher, Receiver } from '../load.ts'
import { settle } from './pairs.ts'
import { measureRate } from './rate.ts'
import { generatorLimit, openMany, round } from './scenario.ts'
import type { Scenario } from './scenario.ts'

const groupSize = 50
const groupsPerSender = 20
const users = 500

export const manyGroups: Scenario = {
  name: 'many-groups',
  headline: 'deliveries_per_s',
  better: 'higher',
  describe: s => `${s.groups} groups of ${groupSize} among ${users} online users, ${s.groups / groupsPerSender} senders, each to its ${groupsPerSender} groups in turn`,
  async run (peer, running, settings) {
    const { port } = running
    const senders = settings.groups / groupsPerSender
    const gid = (group: number) => `g${String(group).padStart(5, '0')}`
    const of: string[][] = Array.from({ length: users }, () => [])
    await openMany(senders, sender => {
      const groups = new Map<string, string[]>()
      for (let group = sender * groupsPerSender; group < (sender + 1) * groupsPerSender; group++) {
        const members = Array.from({ length: groupSize }, (_, index) => (group + index * users / groupSize) % users)
        for (const member of members) of[member]?.push(gid(group))
        groups.set(gid(group), members.map(member => `m${member}`))
      }
      return peer.createGroups(port, `s${sender}`, groups)
    }, 1)
    let lost: string | undefined
    const watch = (connection: Connection) => { connection.onLost = reason => { lost ??= `${connection.user}: connection lost: ${reason}` } }
    const receivers = await openMany(users, async index => {
      const connection = await Connection.open({ port, user: `m${index}`, protocol: peer.protocol, prepare: watch })
      const receiver = new Receiver(connection, peer.systemMark)
      await connection.subscribe([...peer.groups(of[index] as string[]), ...peer.beside?.(`m${index}`) ?? []])
      return receiver
    })
    const publishers = await openMany(senders, async sender => new Publisher(await Connection.open({ port, user: `s${sender}`, protocol: peer.protocol, prepare: watch }), {
      topics: Array.from({ length: groupsPerSender }, (_, index) => peer.toGroup(gid(sender * groupsPerSender + index))),
      stream: sender * groupsPerSender,
      body: settings.body,
      payloadBytes: settings.payloadBytes,
      window: groupsPerSender
    }))
    const copies = new Float64Array(senders)
    let on = true
    const refills = publishers.map((publisher, sender) => () => {
      if (!on) return
      const room = Math.floor((copies[sender] as number) / groupSize) + publisher.window - publisher.published
      if (room > 0) publisher.send(room)
    })
    publishers.forEach((publisher, sender) => { publisher.connection.onRead = refills[sender] as () => void })
    for (const receiver of receivers) {
      const touched = new Set<number>()
      receiver.onMessage = () => {
        const sender = Math.floor(receiver.stamp.stream / groupsPerSender)
        copies[sender] = (copies[sender] as number) + 1
        touched.add(sender)
      }
      receiver.connection.onRead = () => {
        for (const sender of touched) refills[sender]?.()
        touched.clear()
      }
    }
    for (const refill of refills) refill()
    const { metrics, usage } = await measureRate(running, settings, receivers)
    on = false
    const fault = lost ?? await settle(publishers, receivers, groupSize)
    await Promise.all([...publishers, ...receivers].map(side => side.connection.close()))
    return round(metrics, usage, fault, generatorLimit(usage))
  }
}
