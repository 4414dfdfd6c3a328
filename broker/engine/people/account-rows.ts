/** The rows of accounts, for who checks them and for who changes them. */
import { Refusal, type Code } from '../../errors.ts'
import type { UserRow } from '../../store/store.ts'
import { isId } from '../../topics.ts'
import type { EngineHost } from '../host.ts'
import { KeyedQueue } from '../keyed-queue.ts'
import { LookupCache } from '../lookup-cache.ts'

const maxCachedUsers = 100_000

export class AccountRows {
  readonly #host: EngineHost
  readonly #known: LookupCache<boolean>
  readonly #queue = new KeyedQueue()
  #changes = 0

  constructor (host: EngineHost) {
    this.#host = host
    this.#known = new LookupCache(async uid => alive(await host.store.user(uid)) !== undefined, maxCachedUsers)
  }

  /** Grows with each change of any account: who signs in across one looks at the account again. */
  get changes (): number { return this.#changes }

  /** In `dev` mode every valid id exists; synchronous when it is in memory. */
  exists (uid: string): boolean | Promise<boolean> { return this.#host.mode === 'dev' ? isId(uid) : this.#known.get(uid) }

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

  /** In the turn of the change: whoever is told of the account from now on is told of the changed one. */
  kick (user: string, code: Code): void {
    this.#changes += 1
    this.#host.emit([{ kind: 'kick', user, code }])
  }
}

/** The row of an account that was not removed. */
export function alive (row: UserRow | undefined): UserRow | undefined { return row?.removedAt === undefined ? row : undefined }
