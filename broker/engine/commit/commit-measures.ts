/** What the committer counts for those who run the server. */
import { Histogram } from '../../histogram.ts'
import type { Measure } from '../../link/measures.ts'

/** Times: the first range ends at half a millisecond, the last one begins at 32 s. */
const timePlaces = 18
const timeScale = 2000
/** Messages: up to 2,048 and more. */
const sizePlaces = 13

/** What the committer did since the start. */
export interface CommitCounts { commits: number, failures: number, messages: number, replays: number }

export class CommitMeasures {
  readonly counts: CommitCounts = { commits: 0, failures: 0, messages: 0, replays: 0 }
  readonly #seconds = new Histogram(timePlaces, timeScale)
  readonly #sizes = new Histogram(sizePlaces)

  /** The store took a commit, in so many milliseconds. */
  committed (ms: number): void {
    this.counts.commits += 1
    this.#seconds.add(ms / 1000)
  }

  /** It had so many messages that were new, and repeats. */
  said (messages: number, replays: number): void {
    this.counts.messages += messages
    this.counts.replays += replays
    if (messages + replays > 0) this.#sizes.add(messages + replays)
  }

  read (waiting: number): Measure[] {
    const { commits, failures, messages, replays } = this.counts
    return [
      { name: 'sabethes_messages_total', value: messages },
      { name: 'sabethes_replays_total', value: replays },
      { name: 'sabethes_commits_total', value: commits },
      { name: 'sabethes_commit_failures_total', value: failures },
      { name: 'sabethes_commit_seconds', value: this.#seconds.read() },
      { name: 'sabethes_commit_messages', value: this.#sizes.read() },
      { name: 'sabethes_commit_queue', value: waiting }
    ]
  }
}
