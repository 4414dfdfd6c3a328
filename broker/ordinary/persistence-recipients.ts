/** The sessions that a message goes to. */

/** One subscription of a session that matches. */
export interface Recipient { clientId: string, qos?: 0 | 1 | 2, rap?: boolean, nl?: boolean, subscriptionIdentifier?: number }

/** What a session's matching subscriptions add up to. */
export interface Receiver { qos: 0 | 1 | 2, rap: boolean, identifiers: number[] }

/** Several subscriptions of one client make one message, at the highest quality of service of theirs [MQTT-3.3.5-1]; by client. */
export function mergeRecipients (recipients: Iterable<Recipient>, packetQos: 0 | 1 | 2, publisher?: string): Map<string, Receiver> {
  const merged = new Map<string, Receiver>()
  for (const { clientId, qos = packetQos, rap = false, nl = false, subscriptionIdentifier } of recipients) {
    if (nl && publisher === clientId) continue
    let own = merged.get(clientId)
    if (own === undefined) merged.set(clientId, own = { qos, rap: false, identifiers: [] })
    if (qos > own.qos) own.qos = qos
    own.rap ||= rap
    if (subscriptionIdentifier !== undefined) own.identifiers.push(subscriptionIdentifier)
  }
  return merged
}
