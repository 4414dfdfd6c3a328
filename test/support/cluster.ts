/** Several server processes on one database and one Redis. */
import type { Test } from 'tap'
import { merge } from './configs.ts'
import { mongodbServer } from './mongodb.ts'
import type { MongodbServer } from './mongodb.ts'
import { startRedis } from './redis.ts'
import type { RedisOptions, RedisServer } from './redis.ts'
import { startServer } from './server.ts'
import type { Server, ServerOptions } from './server.ts'

export interface Cluster {
  readonly servers: Server[]
  readonly redis: RedisServer
  readonly mongodb: MongodbServer
  /** One more server. */
  join (options?: ServerOptions): Promise<Server>
}

/** `nodes` servers, or `undefined` when this machine lacks Redis or MongoDB: the test was then skipped aloud (failed when `CI` is set). */
export async function startCluster (t: Test, nodes: number, { redis: redisOptions, ...options }: ServerOptions & { redis?: RedisOptions } = {}): Promise<Cluster | undefined> {
  const [mongodb, redis] = [await mongodbServer(t), await startRedis(t, redisOptions)]
  if (mongodb === undefined || redis === undefined) return undefined
  const { url, database } = mongodb
  const shared = { store: { driver: 'mongodb', url, database }, cluster: { redis: redis.url } }
  const servers: Server[] = []
  const folder = t.testdirName
  const join = async (more: ServerOptions = {}): Promise<Server> => {
    const name = `n${servers.length + 1}`
    const config = merge(merge(shared, { cluster: { name } }), merge(options.config ?? {}, more.config ?? {}))
    // A folder of its own: who makes one anew removes what is in it.
    t.testdirName = `${folder}-${name}`
    const server = await startServer(t, { ...options, ...more, config })
    servers.push(server)
    return server
  }
  for (let i = 0; i < nodes; i++) await join()
  return { servers, redis, mongodb, join }
}
