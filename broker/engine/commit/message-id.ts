/** Message ids: made by the server, unique, in the order in which they were made. */
import { randomBytes } from 'node:crypto'

const timeDigits = 9
const countLimit = 36 ** 4
const pairs: string[] = []
for (let i = 0; i < 36 * 36; i++) pairs.push(i.toString(36).padStart(2, '0'))

/**
 * Makes ids of 20 characters `0-9a-z`: 9 of time (milliseconds, base 36), 4 of a counter, 7 drawn once per process, which
 * keep ids apart across restarts and nodes. Ids of one process grow as text even when the clock goes back;
 * they are greater than those whose time is at most `floor` (milliseconds since the epoch). `at`: the time of what gets the id, where it is known already.
 */
export function messageIds (now: () => number, { origin = randomOrigin(), floor = 0 }: { origin?: string, floor?: number } = {}): (at?: number) => string {
  let lastMs = floor
  let count = 0
  let prefix = floor.toString(36).padStart(timeDigits, '0')
  return (ms = now()) => {
    if (ms > lastMs) {
      lastMs = ms
      count = 0
      prefix = ms.toString(36).padStart(timeDigits, '0')
    } else if (++count === countLimit) {
      lastMs += 1
      count = 0
      prefix = lastMs.toString(36).padStart(timeDigits, '0')
    }
    return prefix + (pairs[Math.trunc(count / 1296)] as string) + (pairs[count % 1296] as string) + origin
  }
}

function randomOrigin (): string {
  return (randomBytes(6).readUIntBE(0, 6) % 36 ** 7).toString(36).padStart(7, '0')
}
