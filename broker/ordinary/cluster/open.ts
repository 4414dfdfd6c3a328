/** Ordinary topics of several servers of one cluster: what they keep is in one Redis, and what is published at one goes to all. */
import { once } from 'node:events'
import type { RedisClient } from '../../cluster/redis.ts'
import type { PersistenceOptions } from '../persistence-options.ts'
import type { PacketLike } from '../persistence-packets.ts'
import type { RecordsLike } from '../persistence-records.ts'
import { Router } from '../router.ts'
import { Frames } from './frames.ts'
import { RedisPersistence } from './redis-persistence.ts'

/** How Redis is reached. */
export interface ClusterSetup {
  /** `keyPrefix`: before the names of all keys. */
  connect (use: 'commands' | 'subscriber', keyPrefix: string): RedisClient
  namespace: string
  /** Milliseconds that a write waits for Redis. */
  timeoutMs: number
}

export interface ClusterSide {
  persistence: RedisPersistence
  router: Router
  close (): void
}

export interface ClusterSideOptions extends Pick<PersistenceOptions, 'offlineQueue' | 'retained' | 'retainedBytes' | 'onDrop'> {
  setup: ClusterSetup
  records: Pick<RecordsLike, 'write'>
  /** Bytes of messages for other servers that wait while Redis is away. */
  outputBytes: number
  onError: (error: unknown) => void
}

/** Rejects when Redis does not answer in time. */
export async function openClusterSide ({ setup, outputBytes, onError, ...options }: ClusterSideOptions): Promise<ClusterSide> {
  const { connect, namespace, timeoutMs } = setup
  // One slot of a Redis Cluster has all of them: what belongs together is written by one script.
  const redis = connect('commands', `{${namespace}:ordinary}:`)
  const [publisher, subscriber] = [connect('commands', ''), connect('subscriber', '')]
  const close = (): void => { for (const one of [redis, publisher, subscriber]) one.disconnect() }
  try {
    await Promise.all([redis, publisher, subscriber].map(async one => {
      if (one.status !== 'ready') await once(one, 'ready', { signal: AbortSignal.timeout(timeoutMs) })
    }))
    const persistence = new RedisPersistence({ ...options, redis, timeoutMs, onError })
    await persistence.open()
    const router = new ClusterRouter(packet => { frames.send(packet) })
    const frames: Frames = new Frames({
      publisher,
      subscriber,
      channel: `${namespace}:ordinary`,
      maxBytes: outputBytes,
      onMessage: packet => { router.hear(packet) },
      onGap: () => { persistence.wakeAll() },
      onError
    })
    return { persistence, router, close: () => { frames.close(); close() } }
  } catch (error) {
    close()
    throw error
  }
}

/** Sends each message to the other servers as well. */
class ClusterRouter extends Router {
  readonly #tell: (packet: PacketLike) => void

  constructor (tell: (packet: PacketLike) => void) {
    super()
    this.#tell = tell
  }

  override emit (packet: PacketLike, done: () => void): void {
    if (!packet.topic.startsWith('$SYS/')) this.#tell(packet)
    super.emit(packet, done)
  }

  /** Who listens elsewhere is not known here. */
  override hears (): boolean { return true }

  /** What another server sent. */
  hear (packet: PacketLike): void { super.emit(packet, () => {}) }
}
