/** The part of aedes-persistence-redis 11.2.2 that is used; it has no types of its own. */
declare module 'aedes-persistence-redis/asyncPersistence.js' {
  interface StoredPacket { cmd: string, brokerId: string, brokerCounter: number, topic: string, payload: Buffer, qos: number, retain: boolean, messageId?: number | null, released?: boolean, messageExpiry?: number }
  interface NamedClient { id: string }

  export default class AsyncRedisPersistence {
    constructor (options: { conn: unknown, maxSessionDelivery?: number, packetTTL?: (packet: StoredPacket) => number })
    setup (broker: unknown): Promise<void>
    addSubscriptions (client: NamedClient, subscriptions: object[]): Promise<void>
    removeSubscriptions (client: NamedClient, filters: string[]): Promise<void>
    subscriptionsByClient (client: NamedClient): Promise<object[]>
    outgoingEnqueue (subscription: { clientId: string }, packet: StoredPacket): Promise<void>
    outgoingUpdate (client: NamedClient, packet: StoredPacket): Promise<void>
    outgoingClearMessageId (client: NamedClient, packet: { messageId: number }): Promise<StoredPacket | undefined>
    outgoingStream (client: NamedClient): AsyncGenerator<StoredPacket>
    incomingStorePacket (client: NamedClient, packet: StoredPacket): Promise<void>
    incomingGetPacket (client: NamedClient, packet: { messageId: number }): Promise<StoredPacket>
    incomingDelPacket (client: NamedClient, packet: { messageId: number }): Promise<void>
    storeRetained (packet: { topic: string, payload: Buffer }): Promise<void>
    createRetainedStream (filter: string): AsyncGenerator<{ topic: string, payload: Buffer }>
  }
}
