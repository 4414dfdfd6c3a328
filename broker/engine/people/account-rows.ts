/** The rows of accounts, for who checks them and for who changes them. */
import { Refusal, type Code } from '../../errors.ts'
import type { UserRow } from '../../store/store.ts'
import { isId } from '../../topics.ts'
import type { EngineHost } from '../host.ts'
import { KeyedQueue } from '../keyed-queue.ts'
import { LookupCache } from '../lookup-cache.ts'

const maxCachedUsers = 100_000
/** Users of whom it is known with which password they signed in last. */
const maxSignedIn = 100_000
/** Users of one look-up. */
const usersOfLook = 500

export class AccountRows {
  readonly #host: EngineHost
  readonly #known: LookupCache<boolean>
  readonly #queue = new KeyedQueue()
  /** What tells the passwords apart with which users signed in here first, of those whose connections were not ended since. */
  readonly #signedIn = new Map<string, string>()
  #changes = 0

  constructor (host: EngineHost) {
    this.#host = host
    this.#known = new LookupCache(async uid => alive(await host.store.user(uid)) !== undefined, maxCachedUsers)
  }

  /** Grows with each change of any account: who signs in across one looks at the account again. */
  get changes (): number { return this.#changes }

  /** In `dev` mode every valid id exists; synchronous when it is in memory. */
  exists (uid: string): boolean | Promise<boolean> { return this.#host.mode === 'dev' ? isId(uid) : this.#known.get(uid) }

  /** Another server may have changed the account; `kicked`: and the user's connections end. */
  forget (uid: string, kicked = false): void {
    this.#changes += 1
    this.#known.forget(uid)
    if (kicked) this.#signedIn.delete(uid)
  }

  /** Other servers may have changed any. */
  clear (): void {
    this.#changes += 1
    this.#known.clear()
  }

  /** Somebody signed in to the account as it is. */
  signedIn ({ uid, passwordHash }: UserRow): void {
    // Who comes with another password than those before: they are still to hear of it.
    if (this.#host.remote === undefined || passwordHash === undefined || this.#signedIn.has(uid)) return
    this.#signedIn.set(uid, markOf(passwordHash))
    if (this.#signedIn.size <= maxSignedIn) return
    const [oldest] = this.#signedIn.keys()
    this.#signedIn.delete(oldest as string)
  }

  /** Ends the connections of those of the users who are shut out, or have a new password: another server has done that, and this one may not have heard of it. */
  async verify (users: Iterable<string>): Promise<void> {
    const all = [...users].filter(isId)
    for (let at = 0; at < all.length; at += usersOfLook) {
      const some = all.slice(at, at + usersOfLook)
      const rows = await this.#host.store.usersAt(some)
      for (const [i, uid] of some.entries()) {
        const code = this.#shutOut(uid, rows[i])
        if (code === undefined) continue
        this.#known.forget(uid)
        this.kick(uid, code)
      }
    }
  }

  #shutOut (uid: string, found: UserRow | undefined): Code | undefined {
    // Where everybody is let in, an id is nobody's own.
    if (found === undefined) return this.#host.mode === 'dev' ? undefined : 'not_found'
    if (found.removedAt !== undefined) return 'not_found'
    if (found.banned === true) return 'banned'
    const known = this.#signedIn.get(uid)
    return known === undefined || known === markOf(found.passwordHash ?? '') ? undefined : 'unauthorized'
  }

  /** Changes one account; changes of one account run one after the other. */
  change (uid: string, task: (row: UserRow | undefined) => Promise<void>): Promise<void> {
    if (!isId(uid)) return Promise.reject(new Refusal('bad_payload', 'a user id is 1 to 64 of A-Z a-z 0-9 . _ -'))
    return this.#queue.run(uid, async () => {
      try {
        await task(await this.#host.store.user(uid))
      } finally {
        this.#changes += 1
        this.#known.forget(uid)
      }
    })
  }

  /** `spare`: a login whose connections stay. In the turn of the change: whoever is told of the account from now on is told of the changed one. */
  kick (user: string, code: Code, spare?: string): void {
    this.#changes += 1
    this.#signedIn.delete(user)
    this.#host.emit([{ kind: 'kick', user, code, ...spare !== undefined && { spare } }])
  }
}

/** The end of a hash, which has a salt: of each password another one. */
export function markOf (passwordHash: string): string { return passwordHash.slice(-16) }

/** The row of an account that was not removed. */
export function alive (row: UserRow | undefined): UserRow | undefined { return row?.removedAt === undefined ? row : undefined }
