import type { Topics } from '../../topics.ts'
import type { Interest } from '../delivery/interest.ts'
import type { MqttSink } from './mqtt-sink.ts'

/** A session that may read the document. */
export interface DocumentReader {
  readonly interest: Pick<Interest, 'server' | 'identifier'>
  readonly crowded: boolean
}

/** What the server says of itself on `im/server`: version, limits, features. It is told as a retained message is. */
export class ServerDocument {
  readonly #topic: string
  #payload: Buffer

  constructor (topics: Topics, info: Record<string, unknown>) {
    this.#topic = topics.server()
    this.#payload = Buffer.from(JSON.stringify(info))
  }

  /** To somebody who subscribes. `identifier`: what the subscriber calls the subscription by. */
  tell (sink: MqttSink | undefined, identifier: number | undefined): void { sink?.tell(this.#topic, this.#payload, { retained: true, identifier }) }

  /** It says something else now: to everybody who has subscribed. Who is behind is left out, as of all that is live only. */
  change (info: Record<string, unknown>, readers: Iterable<{ session: DocumentReader, connection: { readonly sink: MqttSink | undefined } }>): void {
    this.#payload = Buffer.from(JSON.stringify(info))
    for (const { session: { interest, crowded }, connection } of readers) {
      // [MQTT-3.3.1-9] of 3.1.1, [MQTT-3.3.1-12] of 5: not retained to a subscription that was there.
      if (interest.server && !crowded) connection.sink?.tell(this.#topic, this.#payload, { identifier: interest.identifier(this.#topic) })
    }
  }
}
