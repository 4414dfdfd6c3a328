/** What other servers have in memory and this one has changed: derived from what was written, so that no change is left out. */
import { noticedRecords, type Notice } from '../link/remote.ts'
import type { Operation, Outcome, Records, Store, UserRow } from '../store/store.ts'
import { WrappedStore } from './wrapped-store.ts'

type Tell = (notices: Notice[]) => void

/**
 * The store, of which `tell` hears what was changed, after it is stored and before who changed it hears so. A commit that failed may be stored all the
 * same, or may be later: it is told too.
 */
export class NoticingStore extends WrappedStore {
  readonly #tell: Tell
  readonly #records: Records

  constructor (inner: Store, tell: Tell) {
    super(inner)
    this.#tell = tell
    this.#records = noticingRecords(inner.records, tell)
  }

  override get records (): Records { return this.#records }

  override commit (operations: readonly Operation[]): Promise<Outcome[]> {
    const notices = noticesOf(operations)
    return notices.length === 0 ? super.commit(operations) : this.#after(super.commit(operations), notices)
  }

  override setBlock (uid: string, other: string, blocked: boolean): Promise<void> { return this.#after(super.setBlock(uid, other, blocked), [{ kind: 'blocks', user: uid }]) }
  override putUser (user: UserRow): Promise<void> { return this.#after(super.putUser(user), [{ kind: 'user', user: user.uid }]) }
  override dropUser (uid: string, keep?: UserRow): Promise<void> { return this.#after(super.dropUser(uid, keep), [{ kind: 'user', user: uid }]) }

  async #after<Result> (work: Promise<Result>, notices: Notice[]): Promise<Result> {
    try {
      return await work
    } finally {
      this.#tell(notices)
    }
  }
}

/** One for each group, in the order of the operations. */
export function noticesOf (operations: readonly Operation[]): Notice[] {
  const groups = new Map<string, Set<string> | undefined>()
  for (const operation of operations) {
    if (operation.op === 'group.drop') groups.set(operation.gid, undefined)
    if (operation.op !== 'member' && operation.op !== 'member.drop') continue
    const users = groups.get(operation.gid)
    if (users !== undefined) users.add(operation.user)
    else if (!groups.has(operation.gid)) groups.set(operation.gid, new Set([operation.user]))
  }
  return [...groups].map(([gid, users]) => ({ kind: 'group', gid, ...users !== undefined && { users: [...users] } }))
}

function noticingRecords (records: Records, tell: Tell): Records {
  const told = (keys: readonly string[]): void => {
    const notices = keys.filter(key => noticedRecords.some(prefix => key.startsWith(prefix))).map((key): Notice => ({ kind: 'record', key }))
    if (notices.length > 0) tell(notices)
  }
  const after = async <Result> (work: Promise<Result>, keys: readonly string[]): Promise<Result> => {
    try {
      return await work
    } finally {
      told(keys)
    }
  }
  return {
    get: key => records.get(key),
    range: (from, to, limit) => records.range(from, to, limit),
    create: (key, value) => after(records.create(key, value), [key]),
    swap: (key, from, to) => after(records.swap(key, from, to), [key]),
    write: (changes, sync) => after(records.write(changes, sync), changes.map(({ key }) => key))
  }
}
