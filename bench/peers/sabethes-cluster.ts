/** One to three servers that work as one, on one database and one Redis of the bench's own. */
import { join } from 'node:path'
import type { RedisCounter } from '../../test/support/redis-commands.ts'
import { wait } from '../meter.ts'
import type { Peer, RunningCluster, RunningPeer } from './peer.ts'
import { BrokerProcess, find, freePort } from './process.ts'
import { sabethesMongodb, startDatabase } from './sabethes-mongodb.ts'
import { startSabethes } from './sabethes.ts'

/** A start asks the database for all its indexes, milliseconds. */
const startMs = 60_000
/** Heartbeats until each server has seen all others, milliseconds. */
const seenMs = 3_000

/** A stand-in for MongoDB may take a second for what takes that a few milliseconds: as shipped, owners would count as late, and the work would be done twice. */
const patience = { SABETHES_STORE__TIMEOUT_MS: '30000', SABETHES_CLUSTER__REQUEST_TIMEOUT_MS: '5000', SABETHES_MQTT__LIMITS__CONNECT_TIMEOUT_MS: '30000' }

interface OwnRedis { readonly process: BrokerProcess, readonly url: string, readonly counter: RedisCounter, stop (): Promise<void> }

/** As the tests start it: what it keeps is in its file once a second. */
async function startRedis (cpus: string | undefined): Promise<OwnRedis> {
  const [folder, port] = [BrokerProcess.folder(), await freePort()]
  const own = BrokerProcess.start(['redis-server', '--port', String(port), '--bind', '127.0.0.1', '--dir', folder, '--save', '', '--appendonly', 'yes'], folder, cpus)
  try {
    await own.listening(port)
    // Its client is loaded for these peers only.
    const { RedisCounter } = await import('../../test/support/redis-commands.ts')
    const counter = await RedisCounter.open(port)
    const stop = async (): Promise<void> => {
      counter.close()
      await own.stop()
    }
    return { process: own, url: `redis://127.0.0.1:${port}`, counter, stop }
  } catch (error) {
    await own.stop()
    throw error
  }
}

async function startServers (count: number, env: Record<string, string>, cpu: string | undefined, started: RunningPeer[]): Promise<void> {
  for (let i = 1; i <= count; i++) {
    const folder = BrokerProcess.folder()
    started.push(await startSabethes(folder, join(folder, 'data'), cpu, { ...env, SABETHES_CLUSTER__NAME: `n${i}` }, startMs))
  }
  await wait(seenMs)
}

function sabethesCluster (count: number): Peer {
  return {
    ...sabethesMongodb,
    name: `cluster-${count}`,
    missing () { return sabethesMongodb.missing() ?? (find('redis-server') === undefined ? 'redis-server is not installed' : undefined) },
    async start ({ cpu, databaseCpus }) {
      const database = await startDatabase(databaseCpus, 'normal')
      let redis: OwnRedis | undefined
      const servers: RunningPeer[] = []
      const stop = async (): Promise<void> => {
        for (const server of servers) await server.stop()
        await redis?.stop()
        await database.stop()
      }
      try {
        const own = redis = await startRedis(databaseCpus)
        await startServers(count, {
          SABETHES_STORE__DRIVER: 'mongodb',
          SABETHES_STORE__URL: database.url,
          SABETHES_STORE__DATABASE: database.name,
          SABETHES_CLUSTER__REDIS: own.url,
          ...patience
        }, cpu, servers)
        const cluster: RunningCluster = {
          ports: servers.map(({ port }) => port),
          servers: servers.map(({ process }) => process),
          redis: own.process,
          commands: () => own.counter.read()
        }
        return { ...servers[0] as RunningPeer, database, cluster, stop }
      } catch (error) {
        await stop()
        throw error
      }
    }
  }
}

export const clusters: readonly Peer[] = [1, 2, 3].map(sabethesCluster)
