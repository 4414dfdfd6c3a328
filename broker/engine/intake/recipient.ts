/** Whether there is a recipient that the sender may write to, and what the gates say: the rules that every message passes. */
import { codes } from '../../errors.ts'
import type { Submission } from '../../link/port.ts'
import type { Draft, GateVerdict } from '../../plugin-api.ts'
import type { Posting } from '../control-port.ts'
import type { EngineHost } from '../host.ts'
import type { Gates } from './gates.ts'
import { readPayload } from './payload.ts'

export interface RecipientParts {
  readonly host: Pick<EngineHost, 'limits' | 'userExists'>
  readonly gates: Pick<Gates, 'check'>
  readonly mayPost: (user: string, gid: string) => Posting | Promise<Posting>
  readonly mayWrite: (receiver: string, sender: string) => boolean | Promise<boolean>
}

const stranger: GateVerdict = { code: 'forbidden', reason: 'the receiver takes messages of contacts alone' }
const unknownUser: GateVerdict = { code: 'not_found', reason: `${codes.not_found.text}: no such user` }

export class Recipient {
  readonly #parts: RecipientParts

  constructor (parts: RecipientParts) { this.#parts = parts }

  /** The recipient and the gates. A promise only where one of them needs it: not when everything they ask is in memory. */
  judge (draft: Draft): GateVerdict | Promise<GateVerdict> {
    const { gates } = this.#parts
    const recipient = this.#mayReceive(draft)
    if (recipient instanceof Promise) return recipient.then(verdict => verdict ?? gates.check(draft))
    return recipient ?? gates.check(draft)
  }

  /** Asked again when judging took time: meanwhile somebody may have been removed, or take messages of contacts alone. */
  stillMayPost (draft: Draft): GateVerdict | Promise<GateVerdict> { return this.#mayReceive(draft) }

  /** Why a will could never be published, as far as that is known when it is announced. */
  async willRefusal ({ user, target, payload, contentType, utf8 }: Pick<Submission, 'user' | 'target' | 'payload'> & { contentType: string | undefined, utf8: boolean }): Promise<string | undefined> {
    const { maxMessageBytes } = this.#parts.host.limits
    if (target.kind === 'rpc' || target.verb !== undefined) return 'it is no message'
    if (payload.length > maxMessageBytes) return `at most ${maxMessageBytes} bytes`
    const read = readPayload(payload, contentType, utf8)
    if (!read.ok) return read.reason
    const verdict = await this.#mayReceive({ from: user, to: target })
    return verdict === undefined ? undefined : verdict.reason ?? codes[verdict.code].text
  }

  #mayReceive ({ from, to }: Pick<Draft, 'from' | 'to'>): GateVerdict | Promise<GateVerdict> {
    const { host, mayPost } = this.#parts
    if (to.kind === 'user') {
      const exists = host.userExists(to.id)
      if (exists === false) return unknownUser
      const takes = this.#parts.mayWrite(to.id, from)
      if (exists === true && typeof takes === 'boolean') return takes ? undefined : stranger
      return Promise.all([exists, takes]).then(([known, willing]) => known ? (willing ? undefined : stranger) : unknownUser)
    }
    const posting = mayPost(from, to.id)
    if (posting instanceof Promise) return posting.then(answer => answer.ok ? undefined : answer)
    return posting.ok ? undefined : posting
  }
}
