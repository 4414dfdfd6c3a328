import type { IPublishPacket } from 'mqtt-packet'
import type { Will } from '../mqtt/index.ts'
import { gatheredPairs } from './user-properties.ts'

/** The message of a will, as Aedes has it: nothing of when it is sent. */
export function willPacket ({ topic, payload, qos, retain, properties }: Will): Pick<IPublishPacket, 'topic' | 'payload' | 'qos' | 'retain' | 'properties'> {
  if (properties === undefined) return { topic, payload, qos, retain }
  const { payloadFormat, messageExpirySeconds, contentType, responseTopic, correlationData, userProperties } = properties
  const given: NonNullable<IPublishPacket['properties']> = {
    ...payloadFormat !== undefined && { payloadFormatIndicator: payloadFormat === 1 },
    ...messageExpirySeconds !== undefined && { messageExpiryInterval: messageExpirySeconds },
    ...contentType !== undefined && { contentType },
    ...responseTopic !== undefined && { responseTopic },
    ...correlationData !== undefined && { correlationData },
    ...userProperties !== undefined && { userProperties: gatheredPairs(userProperties) }
  }
  return { topic, payload, qos, retain, properties: given }
}
