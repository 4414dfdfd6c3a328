/** The quality of service that Aedes forgets to lower for wildcard subscriptions. */
import { contains } from '../../broker/gateway/open-topics.ts'

/**
 * The highest QoS that the connected client was granted for `topic` by any of its subscriptions; `undefined` without one.
 * Deliver at the lower of it and the message's [MQTT-3.8.4-6]. Costs a look at each of the client's subscriptions.
 */
export function grantedQos (client: { subscriptions: Readonly<Record<string, { qos: number } | undefined>> }, topic: string): 0 | 1 | 2 | undefined {
  let granted: number | undefined
  const levels = topic.split('/')
  for (const [filter, subscription] of Object.entries(client.subscriptions)) {
    if (subscription === undefined || (granted !== undefined && subscription.qos <= granted)) continue
    if (contains(filter.split('/'), levels)) granted = subscription.qos
  }
  return granted as 0 | 1 | 2 | undefined
}
