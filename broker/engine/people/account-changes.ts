/** What the operator does with accounts. */
import { Refusal } from '../../errors.ts'
import type { Page, UserRow } from '../../store/store.ts'
import type { EngineHost } from '../host.ts'
import { alive, type AccountRows } from './account-rows.ts'
import { maxPasswordBytes, type Passwords } from './password-hash.ts'
import type { ScramPasswords } from './scram-passwords.ts'
import type { SignInLimits } from './sign-in-limits.ts'

/** An account as the operator sees it. */
interface Account { uid: string, createdAt: number, banned: boolean, hasPassword: boolean }

/** Something of a user that goes with the account. */
export interface Keeper { forget (user: string): Promise<void> }

/** Each throws `Refusal`. */
export class AccountChanges {
  readonly #host: EngineHost
  readonly #rows: AccountRows
  readonly #passwords: Passwords
  readonly #limits: SignInLimits
  readonly #scram: Pick<ScramPasswords, 'fields'>
  readonly #keepers: readonly Keeper[]

  constructor (host: EngineHost, rows: AccountRows, passwords: Passwords, limits: SignInLimits, scram: Pick<ScramPasswords, 'fields'>, keepers: readonly Keeper[]) {
    this.#host = host
    this.#rows = rows
    this.#passwords = passwords
    this.#limits = limits
    this.#scram = scram
    this.#keepers = keepers
  }

  /** `conflict`, `bad_payload` (id, or no password in `password` mode). */
  async add (uid: string, password: string | undefined): Promise<void> {
    await this.#rows.change(uid, async row => {
      if (row?.removedAt !== undefined) throw new Refusal('conflict', `the user '${uid}' was removed; its id is not given again, as its conversations stay`)
      if (row !== undefined) throw new Refusal('conflict', `the user '${uid}' exists already`)
      if (password === undefined && this.#host.mode === 'password') throw new Refusal('bad_payload', 'a password is needed')
      const secret = password === undefined ? {} : await this.#secrets(uid, checked(password))
      await this.#host.store.putUser({ uid, createdAt: this.#host.now(), ...secret })
    })
  }

  /** Ends the user's connections, but for those of the login `spare`, and all logins. `not_found`, `bad_payload`. */
  async passwd (uid: string, password: string, spare?: string): Promise<void> {
    const text = checked(password)
    await this.#rows.change(uid, async row => { if (alive(row) === undefined) throw missing(uid) })
    // Not within the account's queue: a ban must not wait for it.
    const secrets = await this.#secrets(uid, text)
    await this.#rows.change(uid, async found => {
      const row = alive(found)
      if (row === undefined) throw missing(uid)
      // Keys of the old password go, whatever there is of the new one.
      const { scram, ...rest } = row
      await this.#host.store.putUser({ ...rest, ...secrets })
      this.#limits.forget(uid)
      this.#rows.kick(uid, 'unauthorized', spare)
    })
  }

  /** By id, ascending. */
  async list (page: { after?: string, limit: number }): Promise<Account[]> {
    return (await this.#living(page)).map(row => ({
      uid: row.uid,
      createdAt: row.createdAt,
      banned: row.banned === true,
      hasPassword: row.passwordHash !== undefined
    }))
  }

  /** Ends the user's connections when banned. `not_found` (in `password` mode; otherwise every id can be banned, before it ever came). */
  async ban (uid: string, banned: boolean): Promise<void> {
    await this.#rows.change(uid, async found => {
      const row = alive(found)
      if (row === undefined && this.#host.mode === 'password') throw missing(uid)
      await this.#host.store.putUser({ ...row ?? { uid, createdAt: this.#host.now() }, banned })
      if (banned) this.#rows.kick(uid, 'banned')
    })
  }

  /** Ends the user's connections; messages stay. `not_found`. */
  async remove (uid: string): Promise<void> {
    const { store, mode } = this.#host
    await this.#rows.change(uid, async found => {
      const row = alive(found)
      if (row === undefined) {
        // What a crash left of a removal goes.
        if (found !== undefined) await store.dropUser(uid, found)
        throw missing(uid)
      }
      for (const keeper of this.#keepers) await keeper.forget(uid)
      // Where everybody is let in, an id is nobody's own.
      await store.dropUser(uid, mode === 'dev' ? undefined : { uid, createdAt: row.createdAt, removedAt: this.#host.now() })
      this.#limits.forget(uid)
      this.#rows.kick(uid, 'not_found')
      // What came in meanwhile: until now there was an account.
      for (const keeper of this.#keepers) await keeper.forget(uid)
    })
  }

  /** What the row keeps of a password. */
  async #secrets (uid: string, password: string): Promise<Pick<UserRow, 'passwordHash' | 'scram'>> {
    return { passwordHash: await this.#passwords.hash(password), ...await this.#scram.fields(uid, password) }
  }

  /** A page of accounts that were not removed: as long as it should be while there are any. */
  async #living (page: Page): Promise<UserRow[]> {
    const rows: UserRow[] = []
    let { after } = page
    while (rows.length < page.limit) {
      const some = await this.#host.store.users({ limit: page.limit, ...(after === undefined ? {} : { after }) })
      rows.push(...some.filter(row => alive(row) !== undefined))
      if (some.length < page.limit) break
      after = some.at(-1)?.uid
    }
    return rows.slice(0, page.limit)
  }
}

function missing (uid: string): Refusal { return new Refusal('not_found', `there is no user '${uid}'`) }

function checked (password: string): string {
  if (password === '') throw new Refusal('bad_payload', 'the password is empty')
  if (Buffer.byteLength(password) > maxPasswordBytes) throw new Refusal('too_large', `a password has at most ${maxPasswordBytes} bytes`)
  return password
}
