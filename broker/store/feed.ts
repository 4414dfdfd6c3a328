/**
 * The feed's part of the store contract: what was committed, in an order that readers with names follow, each with a cursor of its own.
 * The feed holds no bodies: a row says which messages a commit has stored, and reading takes them from the logs. Nothing is
 * written while nobody reads. ADR 11 says which guarantees each store gives.
 */
import type { StoredMessage, TimeMs } from './rows.ts'

/**
 * What a reader gets. `position` counts what was put into the feed, from 1: to acknowledge it means that everything up to it is done.
 * Positions may be skipped, and never go back.
 */
export type FeedEntry = FeedMessage | FeedGap

export interface FeedMessage { kind: 'message', position: number, conv: string, message: StoredMessage }

/**
 * In the place of what cannot be handed out. `purged`: these messages (`count` of `conv`, from number `seq` on) left the log before the
 * reader came to them. `missing`: of `count` places nothing is known any more: they became too old (see `trim`), or are damaged.
 */
export interface FeedGap { kind: 'gap', position: number, count: number, reason: 'purged' | 'missing', conv?: string, seq?: number }

export interface FeedReader {
  name: string
  /** The last position that the reader acknowledged. */
  position: number
  createdAt: TimeMs
  /** It ends with this process: nothing of it is stored. */
  temporary?: true
}

export interface FeedRegistration {
  /** `now`: behind what is committed when it resolves. `oldest`: what the feed still holds for others, from its beginning. */
  from: 'now' | 'oldest'
  createdAt: TimeMs
  temporary?: boolean
}

export interface FeedPage {
  /** Entries, at most. */
  limit: number
  /** Bytes of contents, about; one entry is always handed out. */
  maxBytes: number
}

export interface FeedStore {
  /** True when other processes may commit into the same feed: then `onAppend` does not tell all. */
  readonly shared: boolean
  /** Called when something was put into the feed; set by the one who wakes readers. Must not throw. */
  onAppend: () => void
  readers (): Promise<FeedReader[]>
  reader (name: string): Promise<FeedReader | undefined>
  /** A reader that is there already stays as it is. Durable when it resolves; each message committed from then on is for the reader. */
  register (name: string, registration: FeedRegistration): Promise<FeedReader>
  /**
   * Everything up to `position` is done; a cursor moves forward, and no further than to the end. Survives the death of the process; on
   * the embedded store a power loss may take it back, as far as the last commit. Resolves to false when there is no such reader.
   */
  acknowledge (name: string, position: number): Promise<boolean>
  /** Resolves to false when there was none. What only it had not read leaves the feed with the next `trim`. */
  remove (name: string): Promise<boolean>
  /** What comes behind `after`, in order. Empty at the end of the feed. */
  read (after: number, page: FeedPage): Promise<FeedEntry[]>
  /** The last position. */
  end (): Promise<number>
  /** When the first thing behind `position` was committed. */
  since (position: number): Promise<TimeMs | undefined>
  /**
   * Removes rows that all readers have passed, and those from before `before` whoever still needs them; at most `limit` rows.
   * Resolves to how many rows went.
   */
  trim (before: TimeMs, limit: number): Promise<number>
}
