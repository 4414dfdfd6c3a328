import type { Entry, Stream } from '../delivery/stream.ts'
import { compactEnvelope, compactEvent } from './compact.ts'

const memoryBytes = 16_384

/**
 * The compact form of the entry that is being delivered. It is made when the first reader wants it, and the same bytes serve all that the entry goes to
 * one after the other: all who read a group live, all devices of a user. Nothing of it is kept with messages, and nothing costs who does not want it.
 */
export class CompactForms {
  /** Forms are written here, each over the one before; larger ones have memory of their own. */
  readonly #memory = Buffer.allocUnsafeSlow(memoryBytes)
  #payload: Uint8Array | undefined
  #reader: string | undefined
  #form: Uint8Array = this.#memory
  /** How many were made. */
  made = 0

  /** The bytes are lent until the next call: what is written anywhere is a copy. */
  of ({ kind, reader: { user } }: Stream, { payload }: Entry): Uint8Array {
    const reader = kind === 'group' ? undefined : user
    // A payload is never written to again, and while it is held here no other one can be taken for it.
    if (payload === this.#payload && reader === this.#reader) return this.#form
    const text = Buffer.from(payload.buffer, payload.byteOffset, payload.length).toString('latin1')
    const form = kind === 'event' ? compactEvent(text, user) : compactEnvelope(text, reader)
    this.made++
    this.#payload = payload
    this.#reader = reader
    this.#form = form === undefined ? payload : this.#bytes(form)
    return this.#form
  }

  #bytes (form: string): Uint8Array {
    return form.length > memoryBytes ? Buffer.from(form, 'latin1') : this.#memory.subarray(0, this.#memory.write(form, 'latin1'))
  }
}
