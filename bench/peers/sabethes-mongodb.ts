/** Sabethes with its store in MongoDB, or in what speaks MongoDB's protocol here; the same server otherwise. */
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import type { CommandCounter } from '../../test/support/mongodb-commands.ts'
import { findMongodb, mongodbCommand, type MongodbSync } from '../../test/support/mongodb-program.ts'
import type { RunningDatabase, Peer } from './peer.ts'
import { BrokerProcess, freePort } from './process.ts'
import { sabethes, startSabethes } from './sabethes.ts'

/** What the figures are of, in words. */
export function databaseWords (): string {
  switch (findMongodb()?.kind) {
    case 'mongod': return 'the mongod on the PATH, standalone'
    case 'env': return 'the server of SABETHES_TEST_MONGODB_URL, which runs where its owner put it'
    case 'secantusdb': return "SecantusDB, synced at each commit: its times are SecantusDB's, not MongoDB's"
    case 'ferretdb': return "FerretDB 1 on SQLite, fsync before each answer: its times are FerretDB-on-SQLite's, NOT MongoDB's"
    case undefined: return 'a database that is not here'
  }
}

/** A database of its own, bound to `cpus`; with `full` FerretDB calls fsync before every answer, so that a PUBACK means what it means elsewhere. */
export async function startDatabase (cpus: string | undefined, sync: MongodbSync = 'full'): Promise<RunningDatabase & { url: string, name: string, stop (): Promise<void> }> {
  const source = findMongodb()
  if (source === undefined) throw new Error('no MongoDB server')
  const name = `sabethes_bench_${randomBytes(6).toString('hex')}`
  let url: string
  let own: BrokerProcess | undefined
  if (source.kind === 'env') url = source.url
  else {
    const [folder, port] = [BrokerProcess.folder(), await freePort()]
    own = BrokerProcess.start(await mongodbCommand(source.kind, { folder, port, sync }), folder, cpus)
    url = `mongodb://127.0.0.1:${port}/`
  }
  let counter: CommandCounter | undefined
  const stop = async (): Promise<void> => {
    if (own === undefined) await counter?.drop()
    await counter?.close()
    await own?.stop()
  }
  try {
    if (own !== undefined) await own.listening(Number(new URL(url).port), 30_000)
    // The driver is loaded for this peer only.
    const { CommandCounter } = await import('../../test/support/mongodb-commands.ts')
    const counting = counter = await CommandCounter.open(url, name)
    return { url, name, process: own, commands: () => counting.read(), messages: () => counting.documents('messages'), stop }
  } catch (error) {
    await stop()
    throw error
  }
}

export const sabethesMongodb: Peer = {
  ...sabethes,
  name: 'sabethes-mongodb',
  missing () {
    return sabethes.missing() ?? (findMongodb() === undefined ? 'no MongoDB server: set SABETHES_TEST_MONGODB_URL, or install mongod or go' : undefined)
  },
  async start ({ cpu, databaseCpus }) {
    const database = await startDatabase(databaseCpus)
    try {
      const folder = BrokerProcess.folder()
      const running = await startSabethes(folder, join(folder, 'data'), cpu, {
        SABETHES_STORE__DRIVER: 'mongodb',
        SABETHES_STORE__URL: database.url,
        SABETHES_STORE__DATABASE: database.name
      })
      return {
        ...running,
        database,
        async stop () {
          await running.stop()
          await database.stop()
        }
      }
    } catch (error) {
      await database.stop()
      throw error
    }
  }
}
