/** The feed in memory: one list of entries, and readers that the test adds to. */
import { Refusal } from '../../broker/errors.ts'
import type { FeedReaders } from '../../broker/link/feed.ts'
import type { FeedEntry, FeedReader } from '../../broker/store/feed.ts'

export interface FakeFeed extends FeedReaders {
  readonly known: Map<string, FeedReader>
  /** Puts a message into the feed and wakes who waits. */
  add (conv: string, body: string): void
  /** Puts any entry into the feed. */
  put (entry: FeedEntry): void
}

export function fakeFeed (): FakeFeed {
  const known = new Map<string, FeedReader>()
  const entries: FeedEntry[] = []
  let waiting: Array<() => void> = []
  const need = (name: string): FeedReader => {
    const reader = known.get(name)
    if (reader === undefined) throw new Refusal('not_found', `the feed has no reader '${name}'`)
    return reader
  }
  const put = (entry: FeedEntry): void => {
    entries.push(entry)
    for (const wake of waiting) wake()
    waiting = []
  }
  return {
    known,
    put,
    add: (conv, body) => {
      const seq = entries.length + 1
      put({ kind: 'message', position: seq, conv, message: { seq, n: seq, counts: true, id: `id${seq}`, from: 'alice', ts: 1_790_000_000_000, content: `"id":"id${seq}","from":"alice","to":"u/bob","ts":1790000000000,"type":"text","body":${JSON.stringify(body)}` } })
    },
    readers: async () => [...known.values()].map(reader => ({ ...reader, behind: entries.length - reader.position, ...(entries.length > reader.position ? { since: 1_790_000_000_000 } : {}) })),
    register: async (name, { from, temporary }) => {
      const reader = known.get(name) ?? { name, position: from === 'now' ? entries.length : 0, createdAt: 7, ...(temporary ? { temporary: true as const } : {}) }
      known.set(name, reader)
      return reader
    },
    acknowledge: async (name, position) => { need(name).position = Math.max(need(name).position, position) },
    remove: async name => {
      need(name)
      known.delete(name)
    },
    read: async (name, { after, waitMs }) => {
      const from = (): number => Math.max(after, need(name).position)
      if (waitMs > 0 && entries.length <= from()) await new Promise<void>(resolve => { waiting.push(resolve) })
      return entries.filter(({ position }) => position > from()).slice(0, 3)
    }
  }
}
