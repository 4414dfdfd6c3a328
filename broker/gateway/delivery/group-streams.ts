import type { Stream } from './stream.ts'

/** Hears of commits that it may not see where it reads. */
interface Noting { note (conv: string, seq: number, last?: number): void }

/** The streams by which groups' messages find the sessions that read them. */
export class GroupStreams {
  readonly #streams = new Map<string, Set<Stream>>()
  /** Scans of group lists that are being read: they note commits to groups that they do not know yet. */
  readonly scans = new Set<Noting>()

  add (stream: Stream): void {
    const streams = this.#streams.get(stream.id)
    if (streams === undefined) this.#streams.set(stream.id, new Set([stream]))
    else streams.add(stream)
  }

  remove (stream: Stream): void {
    const streams = this.#streams.get(stream.id)
    if (streams?.delete(stream) === true && streams.size === 0) this.#streams.delete(stream.id)
  }

  /** The streams of a group's conversation. */
  of (conv: string): Iterable<Stream> | undefined { return this.#streams.get(conv) }
}
