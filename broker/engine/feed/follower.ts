/** A reader of the feed in this process: is given batches one after the other, and acknowledges what it has done. */
import type { Logger } from 'pino'
import { setTimeout as pause } from 'node:timers/promises'
import type { FeedEntry } from '../../store/feed.ts'
import type { Feed } from './feed.ts'

export interface FollowOptions {
  feed: Feed
  /** A registered reader. */
  name: string
  /** Does what follows a batch. What it throws is tried again with the same batch: it may be given an entry twice, never none. */
  handle: (entries: readonly FeedEntry[]) => void | Promise<void>
  log: Logger
  /** Milliseconds before another try; they double up to `maxRetryMs`. Default 1000, and 60,000. */
  retryMs?: number
  maxRetryMs?: number
}

/** Follows until it is closed, or the reader is removed. `done` resolves then. */
export function follow ({ feed, name, handle, log, retryMs = 1000, maxRetryMs = 60_000 }: FollowOptions): { readonly done: Promise<void>, close (): Promise<void> } {
  const end = new AbortController()
  const { signal } = end
  const run = async (): Promise<void> => {
    let waitMs = retryMs
    while (!signal.aborted) {
      try {
        const entries = await feed.read(name, { waitMs: 30_000, signal })
        const last = entries.at(-1)
        if (last === undefined) {
          // The engine has ended, or nothing came.
          if (feed.closed) return
          continue
        }
        await handle(entries)
        await feed.acknowledge(name, last.position)
        waitMs = retryMs
      } catch (error) {
        if ((error as { code?: unknown }).code === 'not_found') return
        log.warn({ err: error, reader: name, retryMs: waitMs }, 'a reader of the feed failed: it gets the same again')
        await pause(waitMs, undefined, { signal }).catch(() => { /* closed: the loop sees the signal */ })
        waitMs = Math.min(waitMs * 2, maxRetryMs)
      }
    }
  }
  const done = run()
  return {
    done,
    close: async () => {
      end.abort()
      await done
    }
  }
}
