/** What the change log tells, in memory: who subscribes, which sessions have something stored, which messages are retained, who is in which group. */
import type { RedisClient } from '../../cluster/redis.ts'
import type { PacketLike } from '../persistence-packets.ts'
import { mergeRecipients, type Receiver } from '../persistence-recipients.ts'
import { bounds } from '../persistence-records.ts'
import { RetainedMessages, type RetainedLimits } from '../persistence-retained.ts'
import { Subscriptions, type SubscriptionLike } from '../persistence-subscriptions.ts'
import type { Change } from './commit-script.ts'
import { library, sessionsKey } from './library.ts'

export type Recipients = ReadonlyMap<string, Receiver & { qos: 1 | 2 }>

/** Sessions whose subscriptions are read at once. */
const atOnce = 256

export class Tables {
  readonly subscriptions = new Subscriptions()
  readonly sessions = new Set<string>()
  readonly retained: RetainedMessages
  /** Another one whenever a subscription has changed. */
  at = Symbol('at')
  readonly #redis: RedisClient

  constructor (redis: RedisClient, limits: RetainedLimits) {
    this.#redis = redis
    const read = library(redis)
    const [prefix] = bounds('r')
    this.retained = new RetainedMessages({
      async get (key) {
        const { done, value } = await read.createRetainedStream(key.slice(prefix.length)).next()
        return done === true ? undefined : value.payload
      },
      async * range () {
        for await (const { topic, payload } of read.createRetainedStream('#')) yield [prefix + topic, payload] as [string, Uint8Array]
      }
    }, limits)
  }

  /** Reads all that is there; `onExpired` gets the topics of retained messages whose time has passed. */
  async load (onExpired: (topic: string) => void): Promise<void> {
    const read = library(this.#redis)
    const sessions = await this.#redis.smembers(sessionsKey)
    for (let i = 0; i < sessions.length; i += atOnce) {
      await Promise.all(sessions.slice(i, i + atOnce).map(async session => {
        this.sessions.add(session)
        this.subscriptions.add(session, await read.subscriptionsByClient({ id: session }) as SubscriptionLike[])
      }))
    }
    await this.retained.load(onExpired)
  }

  take (change: Change): void {
    if (change.kind !== 'retained' && change.kind !== 'kept') this.at = Symbol('at')
    switch (change.kind) {
      case 'subscribed':
        this.sessions.add(change.session)
        this.subscriptions.add(change.session, change.subscriptions)
        break
      case 'unsubscribed':
        this.subscriptions.remove(change.session, change.filters)
        break
      case 'kept':
        this.sessions.add(change.session)
        break
      case 'ended':
        this.sessions.delete(change.session)
        this.subscriptions.clear(change.session)
        break
      case 'retained':
        this.retained.note(change.topic, change.bytes, change.expires)
        break
    }
  }

  /** Whose queues a message goes into, and at what their subscriptions add up to. */
  recipients (topic: string, qos: 1 | 2, publisher: string): Recipients {
    const found = new Map<string, Receiver & { qos: 1 | 2 }>()
    for (const [session, receiver] of mergeRecipients(this.subscriptions.match(topic), qos, publisher)) {
      const granted = Math.min(receiver.qos, qos) as 0 | 1 | 2
      if (granted > 0) found.set(session, { ...receiver, qos: granted as 1 | 2 })
    }
    return found
  }
}

/** Whose queues a message goes into, whenever it is asked: found anew only when subscriptions have changed. */
export function recipientsOf (tables: () => Tables, { topic, qos }: Pick<PacketLike, 'topic' | 'qos'>, publisher: string): () => Recipients {
  let found: Recipients = new Map()
  let at: symbol | undefined
  return () => {
    const now = tables()
    if (qos > 0 && at !== now.at) found = now.recipients(topic, qos as 1 | 2, publisher)
    at = now.at
    return found
  }
}
