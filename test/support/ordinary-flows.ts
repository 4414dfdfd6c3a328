/** QoS 2 by hand, and reading up to a known message, for raw clients. */
import type { IPublishPacket } from 'mqtt-packet'
import type { RawClient } from './raw-client.ts'

type Message = IPublishPacket & { messageId: number }

/** Publishes at QoS 2, both handshakes. */
export async function publish2 (client: RawClient, topic: string, payload: string, options: Partial<IPublishPacket> = {}): Promise<void> {
  const messageId = client.nextId()
  client.send({ cmd: 'publish', topic, payload, qos: 2, dup: false, retain: false, messageId, ...options })
  await client.packets.take(packet => packet.cmd === 'pubrec' && packet.messageId === messageId, 15_000, `pubrec ${messageId}`)
  client.send({ cmd: 'pubrel', messageId })
  await client.packets.take(packet => packet.cmd === 'pubcomp' && packet.messageId === messageId, 15_000, `pubcomp ${messageId}`)
}

/** Answers a QoS 2 message with PUBREC and resolves at its PUBREL. */
export async function release (client: RawClient, { messageId }: Message): Promise<void> {
  client.send({ cmd: 'pubrec', messageId })
  await client.packets.take(packet => packet.cmd === 'pubrel' && packet.messageId === messageId, 15_000, `pubrel ${messageId}`)
}

/** Takes a QoS 2 message to its end. */
export async function complete (client: RawClient, message: Message): Promise<void> {
  await release(client, message)
  client.send({ cmd: 'pubcomp', messageId: message.messageId })
}

/** What arrives before the message with the payload `last`; QoS 2 is completed. */
export async function messagesUntil (client: RawClient, last: string): Promise<Message[]> {
  const got: Message[] = []
  for (;;) {
    const message = await client.next()
    if (message.qos === 2) await complete(client, message)
    if (message.payload.toString() === last) return got
    got.push(message)
  }
}
