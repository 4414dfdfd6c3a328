/** The people and conversations of the load tests: of 20 people five direct conversations and five groups of four. */
import type { Test } from 'tap'
import type { Place } from './load.ts'
import { device } from './mqtt.ts'
import type { Device } from './mqtt.ts'

export const people = peopleOf(20)

/** `u0`, `u1`, …; a multiple of four of them. */
export function peopleOf (count: number): string[] {
  if (count < 8 || count % 4 !== 0) throw new RangeError('a multiple of four people, eight at least')
  return Array.from({ length: count }, (_, i) => `u${i}`)
}

/** The id of the direct conversation of two users. */
export function direct (a: string, b: string): string { return a < b ? `d:${a}:${b}` : `d:${b}:${a}` }

export interface Conversation { conv: string, members: readonly string[] }

/**
 * Founds the groups and says what conversations there are, and where each user may send: direct ones of the first half, in pairs, and groups of four with the
 * others, each of whom is in two. A group's message 1 is its founding.
 */
export async function settle (t: Test, url: string, all: readonly string[] = people): Promise<{ conversations: Conversation[], places: Map<string, Place[]> }> {
  const conversations: Conversation[] = []
  const places = new Map<string, Place[]>(all.map(user => [user, []]))
  const half = all.length / 2
  const add = (conv: string, members: readonly string[], topic: (user: string) => string): void => {
    conversations.push({ conv, members })
    for (const user of members) places.get(user)?.push({ conv, topic: topic(user) })
  }
  for (let i = 0; i < half; i += 2) {
    const [a, b] = [all[i] as string, all[i + 1] as string]
    add(direct(a, b), [a, b], user => `im/to/u/${user === a ? b : a}`)
  }
  for (let g = 0; g * 2 < half; g++) {
    const members = [0, 1, 2, 3].map(i => all[half + (g * 2 + i) % half] as string)
    const founder = await device(t, url, members[0] as string, { clientId: 'founder' })
    await founder.result('groups.create', { gid: `team${g}`, name: `Team ${g}`, members: members.slice(1) })
    await founder.end()
    add(`g:team${g}`, members, () => `im/to/g/team${g}`)
  }
  return { conversations, places }
}

/** What `messages.history` shows of a message. */
export interface Told { seq: number, id: string, from: string, type: string, body: string, cid?: string }

/** All of a conversation, as the server tells it to a member, page by page. */
export async function history (reader: Device, conv: string): Promise<Told[]> {
  const all: Told[] = []
  for (;;) {
    const { messages } = await reader.result<{ messages: Told[] }>('messages.history', { conv, after: all.at(-1)?.seq ?? 0, limit: 200 })
    if (messages.length === 0) return all
    all.push(...messages)
  }
}
