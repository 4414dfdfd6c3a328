/** Topic aliases of one connection (MQTT 5, section 3.3.2.3.4): those that the client gives, and those that the server gives. */
import { encodePublishProperties, ProtocolError, type PublishFrame } from '../../mqtt/index.ts'
import type { GivenAlias } from '../ordinary-topics.ts'

const unknownAlias = 0x82

/** What the client's aliases stand for. How large they may be is the codec's to know [MQTT-3.3.2-8], [MQTT-3.3.2-9]. */
export class TakenAliases {
  readonly #topics = new Map<number, string>()

  /** Gives a publish that has an alias its topic: from here on it is like any other. */
  resolve (frame: PublishFrame): void {
    const alias = frame.properties?.topicAlias
    if (alias === undefined) return
    if (frame.topic !== '') {
      this.#topics.set(alias, frame.topic)
      return
    }
    const topic = this.#topics.get(alias)
    if (topic === undefined) throw new ProtocolError(`the topic alias ${alias} was not given a topic`, unknownAlias)
    frame.topic = topic
  }
}

/** With the properties of a publish that has the alias and nothing else. */
interface EncodedAlias extends GivenAlias { readonly properties: Buffer }

/** Aliases of what the client is sent: the topics that come first have them. */
export class GivenAliases {
  readonly #max: number
  readonly #byTopic = new Map<string, EncodedAlias>()
  /** The same by the bytes that a stream has of its topic. */
  readonly #byLabel = new WeakMap<Uint8Array, EncodedAlias>()

  constructor (max: number) { this.#max = max }

  /** Undefined when there is none left for the topic. `told` is set by who has sent both. */
  of (topic: string): EncodedAlias | undefined {
    let given = this.#byTopic.get(topic)
    if (given === undefined && this.#byTopic.size < this.#max) {
      const alias = this.#byTopic.size + 1
      this.#byTopic.set(topic, given = { alias, told: false, properties: encodePublishProperties({ topicAlias: alias }) })
    }
    return given
  }

  ofLabel (label: Uint8Array): EncodedAlias | undefined {
    let given = this.#byLabel.get(label)
    if (given === undefined && (given = this.of(Buffer.from(label).toString())) !== undefined) this.#byLabel.set(label, given)
    return given
  }
}
