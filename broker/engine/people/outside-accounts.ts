/** Accounts here of people whom another account system knows. */
import { Refusal } from '../../errors.ts'
import type { UserRow } from '../../store/store.ts'
import type { EngineHost } from '../host.ts'
import { alive, type AccountRows } from './account-rows.ts'

export class OutsideAccounts {
  readonly #host: EngineHost
  readonly #rows: AccountRows
  readonly #creates: boolean

  /** `creates`: the account of who comes for the first time is made. */
  constructor (host: EngineHost, rows: AccountRows, creates: boolean) {
    this.#host = host
    this.#rows = rows
    this.#creates = creates
  }

  /** Who they are is proven. Throws `Refusal`: `banned`, `unauthorized`. */
  async admit (uid: string): Promise<void> {
    let row: UserRow | undefined
    // A change that comes later ends the connection, which access knows of by then.
    for (let seen = -1; seen !== this.#rows.changes;) {
      seen = this.#rows.changes
      row = await this.#host.store.user(uid)
      if (row === undefined) {
        if (!this.#creates) throw new Refusal('unauthorized', 'there is no such account here')
        await this.#create(uid)
      }
    }
    if (row?.banned === true) throw new Refusal('banned')
    if (alive(row) === undefined) throw new Refusal('unauthorized', 'the account was removed')
  }

  async #create (uid: string): Promise<void> {
    await this.#rows.change(uid, async found => {
      if (found === undefined) await this.#host.store.putUser({ uid, createdAt: this.#host.now() })
    })
  }
}
