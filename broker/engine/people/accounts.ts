/** Accounts: who is let in, and what the operator does with them. */
import { Refusal, type Code } from '../../errors.ts'
import { network } from '../../network.ts'
import type { Page, UserRow } from '../../store/store.ts'
import { isId } from '../../topics.ts'
import type { EngineHost } from '../host.ts'
import { KeyedQueue } from '../keyed-queue.ts'
import { LookupCache } from '../lookup-cache.ts'
import { PasswordHash, type Passwords } from './password-hash.ts'
import { SignInLimits, type SignInLimitsOptions } from './sign-in-limits.ts'

export interface AccountOptions {
  /** Passwords hashed at the same time. */
  hashConcurrency?: number
  /** Sign-ins that may wait for a hash. */
  maxWaiting?: number
  /** How failures slow further tries. */
  limits?: SignInLimitsOptions
  /** Hashes passwords. */
  passwords?: Passwords
}

/** An account as the operator sees it. */
interface Account { uid: string, createdAt: number, banned: boolean, hasPassword: boolean }

export interface Accounts {
  authenticate (request: { user: string | undefined, password: Uint8Array | undefined, address: string }): Promise<{ user: string }>
  /** In `dev` mode every valid id exists; synchronous when it is in memory. */
  exists (uid: string): boolean | Promise<boolean>
  /** For the operator; each throws `Refusal`. */
  readonly users: {
    /** `conflict`, `bad_payload` (id, or no password in `password` mode). */
    add (uid: string, password: string | undefined): Promise<void>
    /** Ends the user's connections. `not_found`, `bad_payload`. */
    passwd (uid: string, password: string): Promise<void>
    /** By id, ascending. */
    list (page: { after?: string, limit: number }): Promise<Account[]>
    /** Ends the user's connections when banned. `not_found` (in `dev` mode every id can be banned). */
    ban (uid: string, banned: boolean): Promise<void>
    /** Ends the user's connections; messages stay. `not_found`. */
    remove (uid: string): Promise<void>
  }
}

const maxCachedUsers = 100_000
const maxPasswordBytes = 1_024

export function createAccounts (host: EngineHost, options: AccountOptions = {}): Accounts {
  const { store, mode } = host
  // Waits: a clock that is set back must not prolong them.
  const limits = new SignInLimits(options.limits ?? {}, () => host.steady())
  const passwords = options.passwords ?? new PasswordHash(options.hashConcurrency ?? 2, options.maxWaiting ?? 256)
  const known = new LookupCache(async uid => alive(await store.user(uid)) !== undefined, maxCachedUsers)
  const queue = new KeyedQueue()
  /** Grows with each change of any account: who signs in across one looks at the account again. */
  let changes = 0
  if (mode === 'password') passwords.decoy().catch((error: unknown) => { host.log.error({ err: error }, 'argon2 does not work') })

  function checkWait (account: string, address: string): void {
    const waitMs = limits.waitMs(account, address)
    if (waitMs > 0) throw new Refusal('rate_limited', 'too many failed tries', waitMs)
  }

  async function checkPassword (uid: string, password: Uint8Array, address: string): Promise<UserRow> {
    checkWait(uid, address)
    const seen = changes
    const row = alive(await store.user(uid))
    const right = await passwords.verify(row?.passwordHash, password, {
      // Asked again at its turn: tries that came at once must not all pass before the first has failed.
      stillWanted: () => { checkWait(uid, address) },
      failed: () => { limits.failed(uid, address) },
      address,
      known: limits.knows(uid, address)
    })
    if (row === undefined || !right) throw wrong()
    limits.succeeded(uid, address)
    return await unchanged(row, seen)
  }

  /** The account as it is now: the hash took time. A change that comes later ends the connection, which access knows of by then. */
  async function unchanged (row: UserRow, seen: number): Promise<UserRow> {
    for (let at = seen; at !== changes;) {
      at = changes
      const now = alive(await store.user(row.uid))
      if (now === undefined || now.passwordHash !== row.passwordHash) throw wrong()
      row = now
    }
    return row
  }

  async function authenticate (request: Parameters<Accounts['authenticate']>[0]): Promise<{ user: string }> {
    const { user, password } = request
    const address = network(request.address)
    if (mode === 'dev') {
      if (user === undefined || !isId(user)) throw new Refusal('unauthorized', 'the user name must be 1 to 64 of A-Z a-z 0-9 . _ -')
      const seen = changes
      const row = await store.user(user)
      if (row?.banned === true || (seen !== changes && (await store.user(user))?.banned === true)) throw new Refusal('banned')
      return { user }
    }
    if (user === undefined || !isId(user) || password === undefined || password.length > maxPasswordBytes) {
      // Nothing can be guessed with it, and no hash is made: it counts against nobody.
      throw wrong()
    }
    const row = await checkPassword(user, password, address)
    // Said to those only who know the password.
    if (row.banned === true) throw new Refusal('banned')
    return { user }
  }

  /** Changes one account; changes of one account run one after the other. */
  function change (uid: string, task: (row: UserRow | undefined) => Promise<void>): Promise<void> {
    if (!isId(uid)) return Promise.reject(new Refusal('bad_payload', 'a user id is 1 to 64 of A-Z a-z 0-9 . _ -'))
    return queue.run(uid, async () => {
      try {
        await task(await store.user(uid))
      } finally {
        changes += 1
        known.forget(uid)
      }
    })
  }

  /** A page of accounts that were not removed: as long as it should be while there are any. */
  async function living (page: Page): Promise<UserRow[]> {
    const rows: UserRow[] = []
    let { after } = page
    while (rows.length < page.limit) {
      const some = await store.users({ limit: page.limit, ...(after === undefined ? {} : { after }) })
      rows.push(...some.filter(row => alive(row) !== undefined))
      if (some.length < page.limit) break
      after = some.at(-1)?.uid
    }
    return rows.slice(0, page.limit)
  }

  /** In the turn of the change: whoever is told of the account from now on is told of the changed one. */
  function kick (user: string, code: Code): void {
    changes += 1
    host.emit([{ kind: 'kick', user, code }])
  }

  const missing = (uid: string): Refusal => new Refusal('not_found', `there is no user '${uid}'`)

  return {
    authenticate,
    exists: uid => mode === 'dev' ? isId(uid) : known.get(uid),
    users: {
      add: (uid, password) => change(uid, async row => {
        if (row?.removedAt !== undefined) throw new Refusal('conflict', `the user '${uid}' was removed; its id is not given again, as its conversations stay`)
        if (row !== undefined) throw new Refusal('conflict', `the user '${uid}' exists already`)
        if (password === undefined && mode === 'password') throw new Refusal('bad_payload', 'a password is needed')
        const secret = password === undefined ? {} : { passwordHash: await passwords.hash(checked(password)) }
        await store.putUser({ uid, createdAt: host.now(), ...secret })
      }),
      async passwd (uid, password) {
        const text = checked(password)
        await change(uid, async row => { if (alive(row) === undefined) throw missing(uid) })
        // Not within the account's queue: a ban must not wait for it.
        const passwordHash = await passwords.hash(text)
        await change(uid, async found => {
          const row = alive(found)
          if (row === undefined) throw missing(uid)
          await store.putUser({ ...row, passwordHash })
          limits.forget(uid)
          kick(uid, 'unauthorized')
        })
      },
      list: async page => (await living(page)).map(row => ({
        uid: row.uid,
        createdAt: row.createdAt,
        banned: row.banned === true,
        hasPassword: row.passwordHash !== undefined
      })),
      ban: (uid, banned) => change(uid, async found => {
        const row = alive(found)
        if (row === undefined && mode === 'password') throw missing(uid)
        await store.putUser({ ...row ?? { uid, createdAt: host.now() }, banned })
        if (banned) kick(uid, 'banned')
      }),
      remove: uid => change(uid, async found => {
        const row = alive(found)
        if (row === undefined) {
          // What a crash left of a removal goes.
          if (found !== undefined) await store.dropUser(uid, found)
          throw missing(uid)
        }
        // Where everybody is let in, an id is nobody's own.
        await store.dropUser(uid, mode === 'password' ? { uid, createdAt: row.createdAt, removedAt: host.now() } : undefined)
        limits.forget(uid)
        kick(uid, 'not_found')
      })
    }
  }
}

function wrong (): Refusal { return new Refusal('unauthorized', 'wrong user name or password') }

function checked (password: string): string {
  if (password === '') throw new Refusal('bad_payload', 'the password is empty')
  if (Buffer.byteLength(password) > maxPasswordBytes) throw new Refusal('too_large', `a password has at most ${maxPasswordBytes} bytes`)
  return password
}

/** The row of an account that was not removed. */
function alive (row: UserRow | undefined): UserRow | undefined { return row?.removedAt === undefined ? row : undefined }
