/** The feed, as the operator's channel asks for it; `broker/engine/feed/feed.ts` is it. Plain data, as everything that crosses the link. */
import type { FeedEntry, FeedReader } from '../store/feed.ts'

/** A reader, and how far it is behind: entries that it has not acknowledged, and when the first of them was committed. */
export interface FeedReaderInfo extends FeedReader { behind: number, since?: number }

/** Every method rejects with `Refusal` for what the operator may see. */
export interface FeedReaders {
  /** By name. */
  readers (): Promise<FeedReaderInfo[]>
  /** One that is there stays as it is. */
  register (name: string, options: { from: 'now' | 'oldest', temporary: boolean }): Promise<FeedReader>
  acknowledge (name: string, position: number): Promise<void>
  remove (name: string): Promise<void>
  /** Entries behind `after` and behind what is acknowledged; waits for the first one, `waitMs` milliseconds at most. */
  read (name: string, query: { after: number, waitMs: number }): Promise<FeedEntry[]>
}
