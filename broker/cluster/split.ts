/** Which operations of a commit go to which server. Pure. */
import { groupId } from '../topics.ts'
import type { Operation } from '../store/store.ts'

/** Places of operations by the server that is to commit them; `undefined`: this one. */
export type Shares = Map<string | undefined, number[]>

/** The log that an operation writes first of all: a conversation, or an event log. */
export function logOf (operation: Operation): string {
  switch (operation.op) {
    case 'message': return operation.conv
    case 'event': return `e:${operation.user}`
    case 'group': return groupId(operation.group.gid)
    default: return groupId(operation.gid)
  }
}

/**
 * The shares of a commit, in phases: those of a phase at once, one phase after the other. In a share the order stays, and all messages of one conversation are in one.
 * Committed here, whoever owns the log, are
 * - changes of groups and members, with the messages of those groups and all events of the commit: it is told in the order in which it was done;
 * - messages without `cid` that may be repeats, with the others of their conversations: whether their first try is in doubt is known here alone;
 * - events without a mark: by nothing would one be known that is committed twice, because no answer came.
 * Events come behind messages, of which they may tell.
 */
export function split (operations: readonly Operation[], ownerOf: (log: string) => string | undefined): Shares[] {
  const hasChanges = operations.some(op => op.op !== 'message' && op.op !== 'event')
  const owners = new Map(operations.filter(op => staysHere(op, hasChanges)).map(op => [logOf(op), undefined as string | undefined]))
  const [messages, events]: [Shares, Shares] = [new Map(), new Map()]
  for (const [at, op] of operations.entries()) {
    const log = logOf(op)
    if (!owners.has(log)) owners.set(log, ownerOf(log))
    add(op.op === 'event' && !hasChanges ? events : messages, owners.get(log), at)
  }
  const phases = [messages, events].filter(shares => shares.size > 0)
  // Here the store itself keeps that order.
  return phases.every(isLocal) ? [new Map([[undefined, [...operations.keys()]]])] : phases
}

/** With all that the commit has of the same log. */
function staysHere (op: Operation, hasChanges: boolean): boolean {
  if (op.op === 'message') return op.cid === undefined && op.resend?.dup === true
  return op.op !== 'event' || hasChanges || op.mark === undefined
}

function add (shares: Shares, to: string | undefined, at: number): void {
  const places = shares.get(to)
  if (places === undefined) shares.set(to, [at])
  else places.push(at)
}

function isLocal (shares: Shares): boolean { return shares.size === 1 && shares.has(undefined) }
