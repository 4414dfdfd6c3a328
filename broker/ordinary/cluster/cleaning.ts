/** What goes from Redis: the oldest of a queue that is too long, and all of a session that is over. The library leaves their messages behind. */
import type { RedisClient } from '../../cluster/redis.ts'
import { outlineOf } from '../persistence-packets.ts'
import type { Commits } from './commits.ts'
import { countKey, incomingIdsKey, incomingKey, library, queueKey, sessionsKey } from './library.ts'

const page = 500
const retainedHash = 'retained'

/** Only what was looked at: the topic may have another message by now. */
const dropScript = `
if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then return redis.call('HDEL', KEYS[1], ARGV[1]) end
return 0`

/** Removes a retained message whose time has passed, if it is still that one. */
export async function dropExpired (redis: RedisClient, topic: string): Promise<void> {
  const row = await redis.hgetBuffer(retainedHash, topic)
  if (row === null) return
  const { value } = await library({ hgetBuffer: async () => row }).createRetainedStream(topic).next() as { value: { payload: Buffer } }
  const { messageExpiry = Infinity } = outlineOf(value.payload)
  if (messageExpiry <= Date.now()) await redis.eval(dropScript, 1, retainedHash, topic, row)
}

/** Takes so many of the oldest out of each queue. `onDrop` is told whose they were. */
export async function trimQueues (redis: RedisClient, queues: ReadonlyMap<string, number>, onDrop: (session: string, count: number) => void): Promise<void> {
  for (const [key, excess] of queues) {
    const packets = await redis.lpop(key, excess)
    if (packets === null || packets.length === 0) continue
    await redis.del(...packets.flatMap(packet => [packet, countKey(packet)]))
    onDrop(decodeURIComponent(key.slice(key.indexOf(':') + 1)), packets.length)
  }
}

/** Removes all that is kept for a session; the other servers hear of it. Rejects when Redis did not take it. */
export async function endSession (redis: RedisClient, commits: Commits, session: string): Promise<void> {
  const queue = queueKey(session)
  const [packets, ids] = await Promise.all([redis.lrange(queue, 0, -1), redis.smembers(incomingIdsKey(session))])
  const keys = [...packets.flatMap(packet => [packet, countKey(packet)]), ...ids.map(id => incomingKey(session, Number(id)))]
  await commits.write(recorder => {
    for (let i = 0; i < keys.length; i += page) recorder.add('del', ...keys.slice(i, i + page))
    recorder.add('del', queue, incomingIdsKey(session), `client:${encodeURIComponent(session)}`)
    recorder.add('srem', sessionsKey, session)
    recorder.note({ kind: 'ended', session })
  })
}
