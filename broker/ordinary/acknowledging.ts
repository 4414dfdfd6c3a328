/** What a client answers to messages of ordinary topics: PUBACK, PUBREC and PUBCOMP. */
import type { Client } from 'aedes'
import { encodeAck, packetTypes, type ProtocolVersion } from '../mqtt/index.ts'
import type { Persistence } from './persistence-interface.ts'
import type { PacketLike } from './persistence-packets.ts'
import { headerBytes, packetIdOf } from './publish-frame.ts'
import type { AedesStream } from './stream.ts'

export interface AcknowledgingOptions {
  client: Client
  stream: AedesStream
  persistence: Pick<Persistence, 'outgoingUpdate' | 'outgoingClearMessageId'>
  /** What waits for the session is stored. */
  kept: boolean
}

/**
 * They count when they are read, and do not go to Aedes: it takes a client's packets in batches, and what waits there behind a publish that is being written
 * is lost with the connection. The message would be sent again, to who has acknowledged it.
 */
export class Acknowledging {
  readonly #options: AcknowledgingOptions
  /** Packet ids whose PUBREC is being written: PUBREL answers it, and each that comes meanwhile. */
  readonly #releasing = new Set<number>()

  constructor (options: AcknowledgingOptions) { this.#options = options }

  /** Takes the client's packet; false when it is another one. */
  take (frame: Buffer): boolean {
    const { stream } = this.#options
    const type = (frame[0] as number) >> 4
    if (type !== packetTypes.puback && type !== packetTypes.pubrec && type !== packetTypes.pubcomp) return false
    if (stream.destroyed) return true
    const packetId = packetIdOf(frame)
    if (type === packetTypes.pubrec && !refuses(frame)) this.received(packetId)
    else {
      this.ended(packetId)
      stream.answered(packetId)
    }
    return true
  }

  /** The client has a message at QoS 2: PUBREL is due, when that is stored [MQTT-4.3.3-4]. */
  received (packetId: number): void {
    const { client, stream, persistence, kept } = this.#options
    if (this.#releasing.has(packetId)) return
    const release = (): void => {
      this.#releasing.delete(packetId)
      if (!stream.destroyed) stream.write(encodeAck(packetTypes.pubrel, client.version as ProtocolVersion, packetId))
    }
    if (!kept) return release()
    this.#releasing.add(packetId)
    persistence.outgoingUpdate(client, { cmd: 'pubrel', ...named(packetId) }).then(release, this.#failed)
  }

  /** A message is at its end. */
  ended (packetId: number): void {
    const { client, persistence } = this.#options
    persistence.outgoingClearMessageId(client, named(packetId)).catch(this.#failed)
  }

  readonly #failed = (err: Error): void => { this.#options.stream.destroy(err) }
}

function named (messageId: number): PacketLike { return { topic: '', payload: '', qos: 0, retain: false, messageId } }

/** A PUBREC of MQTT 5 that ends the exchange (section 4.3.3). */
function refuses (pubrec: Buffer): boolean {
  const header = headerBytes(pubrec)
  return pubrec.length > header + 2 && (pubrec[header + 2] as number) >= 0x80
}
