/** Whether a conversation is the caller's. */
import { Refusal } from '../errors.ts'
import type { Member, Store } from '../store/store.ts'
import { directUsers } from '../topics.ts'

/** The user's row in the conversation; the same refusal (`not_found`) whether it is not there or not theirs. */
export async function membership (store: Store, user: string, conv: string): Promise<Member> {
  const member = conv.startsWith('d:') && !directUsers(conv).includes(user) ? undefined : await store.member(user, conv)
  if (member === undefined) throw new Refusal('not_found', 'there is no such conversation, or you are not in it')
  return member
}
