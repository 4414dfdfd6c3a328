/**
 * Writes a change of a group: one commit with the members' rows, an event for each user that it is about, and a `system` message in the
 * group's log, which those who come see.
 */
import { groupId } from '../../topics.ts'
import type { Operation } from '../../store/store.ts'
import { envelopeContent, envelopeTail } from '../envelope.ts'
import type { GroupCounts } from './group-counts.ts'
import type { EngineHost } from '../host.ts'

type Action = 'create' | 'add' | 'join' | 'remove' | 'leave' | 'role' | 'dissolve' | 'invite'

export interface Change { gid: string, by: string, action: Action, users: readonly string[], more?: Record<string, unknown> }

export class GroupChanges {
  readonly #host: EngineHost
  readonly #counts: GroupCounts
  readonly #forget: (user: string, gid: string) => void

  /** `forget` is called for each member whose row has changed, or may have. */
  constructor (host: EngineHost, counts: GroupCounts, forget: (user: string, gid: string) => void) {
    this.#host = host
    this.#counts = counts
    this.#forget = forget
  }

  /** `invited` hear of it as of an invitation. */
  async commit (change: Change, operations: Operation[], invited: readonly string[] = []): Promise<void> {
    const invitations = invited.length === 0 ? [] : this.#events({ ...change, action: 'invite', users: invited })
    let done = false
    try {
      await this.#host.commit([...operations, ...this.#events(change), ...invitations, this.#message(change)])
      done = true
    } finally {
      // Also after a failure: what the store holds then is for the store to say.
      for (const operation of operations) {
        if (operation.op !== 'member' && operation.op !== 'member.drop') continue
        const { user } = operation
        this.#forget(user, change.gid)
        if (!done || change.action === 'role') this.#counts.forget(user)
        else if (operation.op === 'member.drop') this.#counts.changed(user, -1, 0)
        else this.#counts.changed(user, 1, operation.role === 'owner' ? 1 : 0)
      }
    }
  }

  /** Tells the users alone: nothing changes in the group. */
  async tell (change: Change): Promise<void> { await this.#host.commit(this.#events(change)) }

  #message ({ gid, by, action, users, more }: Change): Operation {
    const id = this.#host.newId()
    const ts = this.#host.now()
    const tail = envelopeTail('system', { action, by, users, ...more })
    const content = envelopeContent({ id, from: by, to: { kind: 'group', id: gid }, ts, tail })
    // The actor stands in the envelope; the row has no sender, as it is nobody's own message and comes on nobody's inbox.
    return { op: 'message', conv: groupId(gid), from: '', id, ts, counts: false, marksSender: false, content }
  }

  /** One event for each user that the change is about; a newer one of the same group replaces it. */
  #events ({ gid, by, action, users, more }: Change): Operation[] {
    const ts = this.#host.now()
    const content = JSON.stringify({ kind: 'group', action, gid, by, ts, ...more })
    return users.map(user => ({ op: 'event', user, slot: `group ${gid}`, ts, content }))
  }
}
