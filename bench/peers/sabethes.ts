/** Sabethes as it is shipped, with the plugins on and their limits out of the bench's way. Everything it acknowledges is on disk. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Connection } from '../connection.ts'
import { BrokerProcess, freePort } from './process.ts'
import { opensslMissing, serverCertificate } from './certificate.ts'
import { request } from './rpc.ts'
import type { Peer, RunningPeer } from './peer.ts'
import { copyStore, filledStore } from './filled-store.ts'

const program = fileURLToPath(new URL('../../broker/main.js', import.meta.url))

/** The configuration of the server under test; the only place that knows its keys. */
const environment = {
  SABETHES_LOG__LEVEL: 'warn',
  // On, with limits that no scenario reaches: their cost is part of what is measured. Receipts are always on.
  SABETHES_PLUGINS: JSON.stringify({ 'rate-limit': { messagesPerSecond: 1_000_000, burst: 1_000_000 }, 'block-list': {} }),
  // Senders and listeners over HTTP come from one address.
  SABETHES_HTTP__REQUESTS_PER_SECOND: '1000000',
  ...Object.fromEntries(['PER_SECOND', 'BURST', 'HEAVY_PER_SECOND', 'HEAVY_BURST'].map(name => [`SABETHES_REQUESTS__${name}`, '1000000']))
}

/** Users that one request may name. */
const usersPerRequest = 1000

/** Starts the server on the data folder, which is in `folder` and goes with it. `more` is added to its configuration. */
export function startSabethes (folder: string, data: string, cpu: string | undefined, more: Record<string, string> = {}, timeoutMs?: number): Promise<RunningPeer> {
  return startShipped(folder, data, cpu, { ...environment, ...more }, timeoutMs)
}

/** The same with the configuration that it is shipped with, and `more`. */
export async function startShipped (folder: string, data: string, cpu: string | undefined, more: Record<string, string> = { SABETHES_LOG__LEVEL: 'warn' }, timeoutMs?: number): Promise<RunningPeer> {
  const [port, wsPort] = [await freePort(), await freePort()]
  const command = [process.execPath, program, 'serve', '--mqtt-port', String(port), '--http-port', String(wsPort), '--data', data]
  const broker = BrokerProcess.start(command, folder, cpu, more)
  const startMs = await broker.listening(port, timeoutMs)
  // WebSocket listens a little later.
  await broker.listening(wsPort, timeoutMs)
  return { port, wsPort, process: broker, startMs, stop: () => broker.stop() }
}

export const sabethes: Peer = {
  name: 'sabethes',
  durable: true,
  // "The group was created" is a message of the group's log.
  systemMark: '"type":"system"',
  missing () { return existsSync(program) ? undefined : `the server is not built (${program})` },
  start ({ cpu }) {
    const folder = BrokerProcess.folder()
    return startSabethes(folder, join(folder, 'data'), cpu)
  },
  toUser: user => `im/to/u/${user}`,
  inbox: user => `im/u/${user}/inbox`,
  toGroup: gid => `im/to/g/${gid}`,
  groups: gids => gids.length > 1 ? ['im/g/+'] : gids.map(gid => `im/g/${gid}`),
  async createGroups (port, owner, groups) {
    const connection = await Connection.open({ port, user: owner, clientId: `${owner}-setup` })
    try {
      for (const [gid, members] of groups) {
        await request(connection, 'groups.create', { gid, name: gid, members: members.slice(0, usersPerRequest) })
        for (let from = usersPerRequest; from < members.length; from += usersPerRequest) {
          await request(connection, 'groups.add', { gid, users: members.slice(from, from + usersPerRequest) })
        }
      }
    } finally {
      await connection.close()
    }
  }
}

/** The same to clients of MQTT 5 that ask for nothing. */
export const sabethes5: Peer = { ...sabethes, name: 'sabethes-5', protocol: { version: 5, topicAliases: 0 } }

/** The same to clients of MQTT 5 that ask for as few bytes as there can be: topic aliases and the compact form. */
export const sabethesCompact: Peer = { ...sabethes, name: 'sabethes-compact', protocol: { version: 5, topicAliases: 8 }, beside: user => [`im/u/${user}/compact`] }

/** The same with engine and store in a thread of their own. */
export const sabethesThread: Peer = {
  ...sabethes,
  name: 'sabethes-thread',
  start ({ cpu }) {
    const folder = BrokerProcess.folder()
    return startSabethes(folder, join(folder, 'data'), cpu, { SABETHES_ENGINE__THREAD: 'true' })
  }
}

/** The same with a listener for TLS. */
export const sabethesTls: Peer = {
  ...sabethes,
  name: 'sabethes-tls',
  missing () { return sabethes.missing() ?? opensslMissing() },
  async start ({ cpu }) {
    const folder = BrokerProcess.folder()
    const tlsPort = await freePort()
    const running = await startSabethes(folder, join(folder, 'data'), cpu, { SABETHES_LISTENERS: JSON.stringify([{ kind: 'mqtts', host: '127.0.0.1', port: tlsPort, ...serverCertificate(folder) }]) })
    await running.process.listening(tlsPort)
    return { ...running, tlsPort }
  }
}

/** The same with options for Node, as in the environment variable NODE_OPTIONS. */
export function sabethesWith (nodeOptions: string): Peer {
  return {
    ...sabethes,
    name: `sabethes ${nodeOptions}`,
    start ({ cpu }) {
      const folder = BrokerProcess.folder()
      return startSabethes(folder, join(folder, 'data'), cpu, { NODE_OPTIONS: nodeOptions })
    }
  }
}

/** The same on a store that has messages in it: a copy of one that is filled once in a run. */
export const sabethesStored: Peer = {
  ...sabethes,
  name: 'sabethes-stored',
  async start ({ cpu, stored }) {
    const full = await filledStore(stored)
    const folder = BrokerProcess.folder()
    copyStore(full, join(folder, 'data'))
    return await startSabethes(folder, join(folder, 'data'), cpu)
  }
}
