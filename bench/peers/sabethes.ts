/** Sabethes as it is shipped, with the plugins on and their limits out of the bench's way. Everything it acknowledges is on disk. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Connection } from '../connection.ts'
import { BrokerProcess, freePort } from './process.ts'
import { request } from './rpc.ts'
import type { Peer } from './peer.ts'

const program = fileURLToPath(new URL('../../broker/main.js', import.meta.url))

/** The configuration of the server under test; the only place that knows its keys. */
const environment = {
  SABETHES_LOG__LEVEL: 'warn',
  // On, with limits that no scenario reaches: their cost is part of what is measured. Receipts are always on.
  SABETHES_PLUGINS: JSON.stringify({ 'rate-limit': { messagesPerSecond: 1_000_000, burst: 1_000_000 }, 'block-list': {} })
}

export const sabethes: Peer = {
  name: 'sabethes',
  durable: true,
  // "The group was created" is a message of the group's log.
  systemMark: '"type":"system"',
  missing () { return existsSync(program) ? undefined : `the server is not built (${program})` },
  async start ({ cpu }) {
    const [port, wsPort] = [await freePort(), await freePort()]
    const folder = BrokerProcess.folder()
    const command = [
      process.execPath, program, 'serve', '--mqtt-port', String(port), '--http-port', String(wsPort), '--data', join(folder, 'data')
    ]
    const broker = BrokerProcess.start(command, folder, cpu, environment)
    const startMs = await broker.listening(port)
    return { port, wsPort, process: broker, startMs, stop: () => broker.stop() }
  },
  toUser: user => `im/to/u/${user}`,
  inbox: user => `im/u/${user}/inbox`,
  toGroup: gid => `im/to/g/${gid}`,
  groups: gids => gids.length > 1 ? ['im/g/+'] : gids.map(gid => `im/g/${gid}`),
  async createGroups (port, owner, groups) {
    const connection = await Connection.open({ port, user: owner, clientId: `${owner}-setup` })
    try {
      for (const [gid, members] of groups) await request(connection, 'groups.create', { gid, name: gid, members })
    } finally {
      await connection.close()
    }
  }
}
