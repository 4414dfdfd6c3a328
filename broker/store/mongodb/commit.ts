/**
 * A commit. There is no transaction over it: its operations are applied in runs of one kind (messages and events; changes
 * of groups), in order, so a commit that ends halfway has applied a beginning of its list, and trying it again adds the
 * rest: messages are repeats by their keys, members and groups are put as they should be.
 */
import type { NewEvent, NewMessage, Operation, Outcome } from '../store.ts'
import type { Append } from './append.ts'
import type { EventLog } from './events.ts'
import type { GroupChanges, GroupOperation } from './group-changes.ts'

const nothing: Outcome = Object.freeze({ seq: 0, n: 0, id: '', ts: 0, replay: false })

/** Applies operations in order; on the disk of the majority when it resolves. Call it inside `exclusive`. */
export async function commit (parts: { append: Append, events: EventLog, groups: GroupChanges }, operations: readonly Operation[]): Promise<Outcome[]> {
  const outcomes = operations.map(() => nothing)
  let messages: Array<[number, NewMessage]> = []
  let events: Array<[number, NewEvent]> = []
  let changes: GroupOperation[] = []

  const applyLogs = async (): Promise<void> => {
    // Events tell of messages: they come behind them.
    const [stored, logged] = [messages, events]
    messages = []
    events = []
    if (stored.length > 0) {
      const out = await parts.append.run(stored.map(([, op]) => op))
      for (const [i, [at]] of stored.entries()) outcomes[at] = out[i] as Outcome
    }
    if (logged.length === 0) return
    const appended = await parts.events.append(logged.map(([, op]) => op))
    for (const [i, [at]] of logged.entries()) outcomes[at] = appended[i] as Outcome
  }
  const applyChanges = async (): Promise<void> => {
    const some = changes
    changes = []
    if (some.length > 0) await parts.groups.apply(some)
  }

  try {
    for (const [at, op] of operations.entries()) {
      if (op.op === 'message' || op.op === 'event') {
        await applyChanges()
        if (op.op === 'message') messages.push([at, op])
        else events.push([at, op])
      } else {
        await applyLogs()
        changes.push(op)
      }
    }
    await applyChanges()
    await applyLogs()
  } catch (error) {
    // A beginning of the list is stored, and nobody will be told.
    for (const [at, op] of operations.entries()) {
      const { seq, replay } = outcomes[at] as Outcome
      if (seq === 0 || replay) continue
      if (op.op === 'message') parts.append.untold(op.conv, seq - 1)
      else if (op.op === 'event') parts.events.untold(op.user, seq - 1)
    }
    throw error
  }
  parts.append.told(operations.flatMap(op => op.op === 'message' ? [op.conv] : []))
  parts.events.told(operations.flatMap(op => op.op === 'event' ? [op.user] : []))
  return outcomes
}
