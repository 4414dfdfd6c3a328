/** What is asked of a persistence and is done elsewhere, or not at all: `prepare` writes to the queues, `sendQueue` sends them, wills are the gateway's. */
import { Readable } from 'node:stream'
import type { SubscriptionLike } from '../persistence-subscriptions.ts'

export class AnsweredElsewhere {
  async setup (): Promise<void> {}
  async warm (): Promise<void> {}
  /** Which retained messages a connection was not sent is not remembered (docs/mqtt5.md). */
  mayRetain (): boolean { return false }
  owe (): void {}
  async subscriptionsByClient (): Promise<SubscriptionLike[]> { return [] }
  async subscriptionsByTopic (): Promise<never[]> { return [] }
  async outgoingEnqueue (): Promise<void> {}
  async outgoingEnqueueCombi (): Promise<void> {}
  outgoingStream (): Readable { return Readable.from([]) }
  async putWill (): Promise<void> {}
  async getWill (): Promise<undefined> {}
  async delWill (): Promise<undefined> {}
  streamWill (): Readable { return Readable.from([]) }
}
