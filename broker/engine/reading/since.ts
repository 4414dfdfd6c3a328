/**
 * Where a device stands that subscribed at a known time and of which no cursor was stored: its first ones are written lazily, and go
 * with a server that dies. What was stamped after that time is for it, whatever other devices of the user have received meanwhile.
 */
import type { Store, TimeMs } from '../../store/store.ts'

/**
 * Milliseconds: a message is stamped when it is taken in, and committed when the store and its sender's turn allow. So one that is a
 * little older than the subscription may have come after it; it is sent again, which harms nobody.
 */
export const stampMarginMs = 60_000

/** The time of the entry with this number, or of the first one behind it; undefined when there is none. */
type TimeAt = (seq: number) => Promise<TimeMs | undefined>

/**
 * The last number up to `upTo` that was stamped before `since`, never below `floor`: times do not go back within
 * a log, so it is found by halves.
 */
async function lastBefore (since: TimeMs, floor: number, upTo: number, timeAt: TimeAt): Promise<number> {
  const isOlder = async (seq: number): Promise<boolean> => {
    const ts = await timeAt(seq)
    return ts === undefined || ts < since
  }
  // Most often nothing has come since.
  if (upTo <= floor || await isOlder(upTo)) return upTo
  let [low, high] = [floor, upTo]
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2)
    if (await isOlder(middle)) low = middle
    else high = middle
  }
  return low
}

/** Of a conversation. What is purged is older than what is not. */
export async function messageBefore (store: Store, conv: string, since: TimeMs, floor: number, upTo: number): Promise<number> {
  return await lastBefore(since, floor, upTo, async seq => (await store.messagesAt([{ conv, seq }]))[0]?.ts)
}

/** Of a user's event log, whose numbers have holes. */
export async function eventBefore (store: Store, user: string, since: TimeMs, upTo: number): Promise<number> {
  return await lastBefore(since, 0, upTo, async seq => (await store.events(user, seq - 1, 1))[0]?.ts)
}
