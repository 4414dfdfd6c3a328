/** Sends a session that is connected here what is in its queue in Redis, in order, as its window has room. */
import type { Client } from 'aedes'
import mqttPacket, { type IPublishPacket } from 'mqtt-packet'
import { isExpired, type Body, type Properties } from '../persistence-packets.ts'
import type { AedesStream } from '../stream.ts'
import type { Queued, SessionQueue } from './session-queue.ts'

export interface QueueSendingOptions {
  queue: SessionQueue
  client: Client
  stream: AedesStream
  nextId: () => number
  properties: (body: Body) => { properties?: Properties }
}

/** Ends when the queue is closed. */
export async function sendQueue (options: QueueSendingOptions): Promise<void> {
  const { queue, stream } = options
  for (let queued = await queue.next(); queued !== undefined; queued = await queue.next()) {
    if (queued.released) {
      stream.write(mqttPacket.generate({ cmd: 'pubrel', messageId: queued.id as number }))
      continue
    }
    await stream.room()
    if (stream.destroyed || queue.closed) return
    await sendOne(queued, options)
  }
}

async function sendOne (queued: Queued, { queue, client, stream, nextId, properties }: QueueSendingOptions): Promise<void> {
  const { body, again } = queued
  // What was sent before does not expire any more [MQTT-4.3.3-7]; the configuration may have changed.
  if ((!again && isExpired(body)) || !stream.rights.mayRead(body.topic)) return queue.drop(queued)
  const messageId = queued.id ?? nextId()
  if (!await queue.name(queued, messageId) || stream.destroyed) return
  if (client.version !== 5) stream.expires(messageId, again ? undefined : body.messageExpiry)
  const packet = { ...body, cmd: 'publish', dup: again, messageId, ...properties(body) }
  stream.write(mqttPacket.generate(packet as IPublishPacket, { protocolVersion: client.version }))
}
