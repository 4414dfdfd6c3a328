/** Who may no longer post after a commit. */
import type { Verdict } from '../../link/port.ts'
import type { Operation } from '../../store/store.ts'
import { groupId } from '../../topics.ts'
import type { MessageEntry } from './commit-queue.ts'

/** What says so of messages that were let in while the removal of their sender, or of the group, was on its way to the disk. */
export function removals (operations: readonly Operation[]): ((entry: MessageEntry) => Verdict | undefined) | undefined {
  const groups = new Set<string>()
  const members = new Set<string>()
  for (const operation of operations) {
    if (operation.op === 'group.drop') groups.add(groupId(operation.gid))
    if (operation.op === 'member.drop') members.add(`${groupId(operation.gid)}/${operation.user}`)
    if (operation.op === 'group') groups.delete(groupId(operation.group.gid))
    if (operation.op === 'member') members.delete(`${groupId(operation.gid)}/${operation.user}`)
  }
  if (groups.size === 0 && members.size === 0) return undefined
  return ({ ref, message: { conv, from, cid } }) => {
    if (!groups.has(conv) && !members.has(`${conv}/${from}`)) return undefined
    return { kind: 'verdict', ref, ok: false, code: 'not_found', reason: 'you are not a member of such a group', ...(cid !== undefined && { cid }) }
  }
}
