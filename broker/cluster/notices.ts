/** What other servers have in memory and this one has changed: derived from what was written, so that no change is left out. */
import { noticedRecords, type Notice } from '../link/remote.ts'
import type { Operation, Records, Store, UserRow } from '../store/store.ts'

type Tell = (notices: Notice[]) => void

/**
 * The store, of which `tell` hears what was changed, after it is stored and before who changed it hears so. A commit that failed may be stored all the
 * same, or may be later: it is told too.
 */
export function noticing (store: Store, tell: Tell): Store {
  const records = noticingRecords(store.records, tell)
  const after = async <Result> (work: Promise<Result>, ...notices: Notice[]): Promise<Result> => {
    try {
      return await work
    } finally {
      if (notices.length > 0) tell(notices)
    }
  }
  const changed: Partial<Store> = {
    records,
    commit: operations => {
      const notices = noticesOf(operations)
      return notices.length === 0 ? store.commit(operations) : after(store.commit(operations), ...notices)
    },
    setBlock: (uid, other, blocked) => after(store.setBlock(uid, other, blocked), { kind: 'blocks', user: uid }),
    putUser: (user: UserRow) => after(store.putUser(user), { kind: 'user', user: user.uid }),
    dropUser: (uid, keep) => after(store.dropUser(uid, keep), { kind: 'user', user: uid })
  }
  return new Proxy(store, {
    get (target, name) {
      const own: unknown = Reflect.get(changed, name)
      if (own !== undefined) return own
      const value: unknown = Reflect.get(target, name, target)
      // Of classes with private members: they know themselves alone.
      return typeof value === 'function' ? value.bind(target) as unknown : value
    }
  })
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
