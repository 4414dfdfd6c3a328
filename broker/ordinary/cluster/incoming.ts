/** Packet ids of publishes at QoS 2 that clients have not released, in Redis. */
import type { RedisClient } from '../../cluster/redis.ts'
import type { ClientLike } from '../persistence-gates.ts'
import type { PacketLike } from '../persistence-packets.ts'
import { RedisAwayError, type Commits, type Write } from './commits.ts'
import { incomingIdsKey, library, type Library } from './library.ts'

/** A connection's end, if Aedes' client has one. */
interface Ends { conn?: { destroy? (error: Error): void, destroyed?: boolean } | null }

const nothing = Buffer.alloc(0)

export class IncomingIds {
  readonly #commits: Commits
  readonly #library: Library
  /** Of sessions that end with their connection. */
  readonly #clean = new WeakMap<object, Set<number>>()

  constructor (redis: RedisClient, commits: Commits) {
    this.#commits = commits
    this.#library = library(redis)
  }

  /** Notes an id; what keeps it goes with the message, as one. */
  add (client: ClientLike, packet: PacketLike, more: Write): Write {
    const messageId = packet.messageId as number
    if (client.clean === true) {
      const ids = this.#clean.get(client)
      if (ids === undefined) this.#clean.set(client, new Set([messageId]))
      else ids.add(messageId)
      return more
    }
    return async recorder => {
      // The message is in the queues already: its id alone is kept.
      await (await recorder.writer()).incomingStorePacket(client, { cmd: 'publish', brokerId: '-', brokerCounter: 1, topic: '', payload: nothing, qos: 2, retain: false, messageId })
      recorder.add('sadd', incomingIdsKey(client.id), messageId)
      await more(recorder)
    }
  }

  /** It could not be written. */
  undo (client: ClientLike, packet: PacketLike): void { this.#clean.get(client)?.delete(packet.messageId as number) }

  /** Rejects when the id is not in use. When Redis does not say whether it is, the connection ends: Aedes would take the message for a new one. */
  async get (client: ClientLike, messageId: number): Promise<{ messageId: number }> {
    if (client.clean === true) {
      if (this.#clean.get(client)?.has(messageId) !== true) throw new Error('no such packet')
      return { messageId }
    }
    try {
      await this.#library.incomingGetPacket(client, { messageId })
      return { messageId }
    } catch (error) {
      if (error instanceof Error && error.message === 'no such packet') throw error
      const away = new RedisAwayError(error)
      const { conn } = client as Ends
      conn?.destroy?.(away)
      // Never answered: there is nobody any more to answer.
      return await new Promise(() => {})
    }
  }

  /** Resolves when the id is free, in Redis too. Does not reject: Aedes would not notice. */
  async remove (client: ClientLike, messageId: number): Promise<void> {
    if (client.clean === true) {
      this.#clean.get(client)?.delete(messageId)
      return
    }
    try {
      await this.#commits.write(async recorder => {
        await (await recorder.writer()).incomingDelPacket(client, { messageId })
        recorder.add('srem', incomingIdsKey(client.id), messageId)
      })
    } catch (error) {
      (client as Ends).conn?.destroy?.(error as Error)
      await new Promise(() => {})
    }
  }
}
