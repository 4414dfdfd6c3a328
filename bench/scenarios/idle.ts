/** Connections that do nothing: resident memory of each. */
import { Connection } from '../connection.ts'
import { nodeSocket } from '../peers/node-socket.ts'
import { openMany, round } from './scenario.ts'
import type { Scenario } from './scenario.ts'

/** Opened and closed before the first reading, so that code and pools are not counted as connections. */
const rehearsals = 100
/** Connections from one source address, below the number of its ephemeral ports (28,000 by default). */
const perAddress = 5000

export const idle: Scenario = {
  name: 'idle',
  headline: 'rss_per_connection_kb',
  better: 'lower',
  extra: [nodeSocket],
  describe: s => `${s.connections} connections with one subscription each; RSS of the broker after less before. node-socket only takes and holds them`,
  async run (peer, running, settings) {
    let lost: string | undefined
    const open = async (user: string, index: number) => {
      const localAddress = `127.0.0.${2 + Math.floor(index / perAddress)}`
      const connection = await Connection.open({ port: running.port, user, localAddress })
      await connection.subscribe([peer.inbox(user)])
      connection.onLost = reason => { lost ??= `${user}: connection lost: ${reason}` }
      return connection
    }
    const closeAll = (connections: Connection[]) => openMany(connections.length, index => (connections[index] as Connection).close())
    await closeAll(await openMany(rehearsals, index => open(`r${index}`, index)))
    const before = await running.process.settledRssBytes()
    const connections = await openMany(settings.connections, index => open(`i${index}`, index))
    const after = await running.process.settledRssBytes()
    const fault = lost
    for (const connection of connections) connection.destroy()
    return round({
      rss_per_connection_kb: (after - before) / connections.length / 1000, rss_before_mb: before / 1e6, rss_after_mb: after / 1e6
    }, undefined, fault)
  }
}
