/**
 * Who of those whom somebody wants in a group comes in, who is invited, and who is not. Many users are admitted in steps, with the others' messages
 * in between; each step is a whole change, so what a crash leaves is a group with fewer members.
 */
import type { Code } from '../../errors.ts'
import { CallerGone } from '../host.ts'
import type { Pause } from '../host.ts'
import type { Consents } from './consent.ts'
import type { GroupCounts } from './group-counts.ts'
import type { Budget, Invitations } from './invitations.ts'
import { noMember } from './memberships.ts'
import type { Memberships } from './memberships.ts'

/** Users of one step: one commit of some milliseconds. Of more users what is to be known is looked up beforehand, with pauses. */
export const usersOfStep = 50

/** What became of the users whom somebody wanted in a group. */
export interface Admitted { added: string[], invited: string[], refused: Array<{ user: string, code: Code }> }

export interface AdmissionParts { memberships: Memberships, consents: Consents, invitations: Invitations, counts: GroupCounts }

export class Admission {
  readonly #parts: AdmissionParts

  constructor (parts: AdmissionParts) { this.#parts = parts }

  /**
   * Looks up what is to be known of many users, with pauses, before others have to wait for the group; then it is in memory, and `then` finds
   * it without one.
   */
  async prepared<T> (by: string, users: readonly string[], pause: Pause | undefined, then: () => Promise<T>): Promise<T> {
    if (pause !== undefined && users.length > usersOfStep) {
      await this.#parts.consents.judge(by, users, pause)
      await this.#parts.counts.full(users, pause)
    }
    return await then()
  }

  /**
   * Admits users, so many at a time (once when there are none), and has `write` put down those who come in and those who are newly invited. What has
   * begun is finished also when its caller has gone.
   */
  async inSteps (by: string, gid: string, users: readonly string[], pause: Pause | undefined, write: (added: string[], fresh: string[]) => Promise<void>): Promise<Admitted> {
    const all: Admitted = { added: [], invited: [], refused: [] }
    const budget: Budget = { rest: () => rest(pause) }
    for (let at = 0; at === 0 || at < users.length; at += usersOfStep) {
      if (at > 0) await rest(pause)
      const { added, invited, refused, fresh } = await this.#admit(by, gid, users.slice(at, at + usersOfStep), budget)
      await write(added, fresh)
      all.added.push(...added)
      all.invited.push(...invited)
      all.refused.push(...refused)
    }
    return all
  }

  /**
   * Who comes in at once, who is invited (`fresh`: and was not before), and who is not. Invitations are written before what tells of
   * them; one to a group that is not there after a crash is shown to nobody.
   */
  async #admit (by: string, gid: string, users: readonly string[], budget: Budget): Promise<Admitted & { fresh: string[] }> {
    const { consents, counts, invitations } = this.#parts
    const answers = await consents.judge(by, users)
    const wanted = (what: string): string[] => users.filter((_, i) => answers[i] === what)
    const refused = users.flatMap((user, i) => answers[i] === 'blocked' || answers[i] === 'forbidden' ? [{ user, code: answers[i] as Code }] : [])
    const willing = wanted('add')
    const strangers = wanted('invite')
    const full = await counts.full(willing)
    const { fresh, known, full: crowded } = await invitations.put(by, gid, strangers, budget, other => this.mayInvite(other, gid))
    for (const user of [...full, ...crowded]) refused.push({ user, code: 'too_large' })
    return { added: willing.filter(user => !full.has(user)), invited: [...known, ...fresh], refused, fresh }
  }

  async mayInvite (user: string, gid: string): Promise<boolean> {
    const member = await this.#parts.memberships.get(user, gid)
    return member !== noMember && member.role !== 'member'
  }
}

/** Between two steps of a change others have their turn, as long as there is somebody to be slow for. */
export async function rest (pause: Pause | undefined): Promise<void> {
  try {
    await pause?.()
  } catch (error) {
    if (!(error instanceof CallerGone)) throw error
  }
}
