/**
 * Messages of a conversation that came in one commit lie in one row, a run: a row costs LevelDB and its binding more than the bytes
 * in it. Its key names the number of its last message, so the first row from `l segment conv seq` on is the one that holds message
 * `seq`. A run of one is the message's text itself, as every row was before format 4; a longer one begins with `+` and the lengths.
 */
import type { StoredMessage } from '../store.ts'
import type { Batch } from './batch.ts'
import { decodeMessage, decodeStored } from './codec.ts'
import type { MessageRow } from './codec.ts'
import { key } from './keys.ts'

/** Who wants one message reads its whole run, and what is damaged is damaged as a run: so runs are short. */
export const maxRunMessages = 32
/** Characters of a run; a longer message is a run by itself. */
export const maxRunLength = 16 * 1024

const plus = 0x2b

/** The runs of one commit. Messages of a conversation come in the order of their numbers. */
export class Runs {
  readonly #open = new Map<string, { segment: number, last: number, length: number, lengths: number[], parts: string[] }>()

  /** `start` and `content` are the message's text: what `encodeHead` makes, and the message's own content, which is not copied before it is written. */
  add (batch: Batch, segment: number, conv: string, seq: number, start: string, content: string): void {
    const run = this.#open.get(conv)
    const length = start.length + content.length
    if (run !== undefined && run.lengths.length < maxRunMessages && run.length + length <= maxRunLength) {
      run.last = seq
      run.length += length
      run.lengths.push(length)
      run.parts.push(start, content)
      return
    }
    if (run !== undefined) putParts(batch, key.message(run.segment, conv, run.last), run.lengths, run.parts)
    this.#open.set(conv, { segment, last: seq, length, lengths: [length], parts: [start, content] })
  }

  /** Writes what is not written yet. */
  put (batch: Batch): void {
    for (const [conv, { segment, last, lengths, parts }] of this.#open) putParts(batch, key.message(segment, conv, last), lengths, parts)
    this.#open.clear()
  }
}

/** Writes a run under the key of its last message. */
export function putRun (batch: Batch, name: string, texts: readonly string[]): void {
  putParts(batch, name, texts.map(({ length }) => length), texts)
}

/** `lengths`: of the messages' texts; `parts`: the texts, in one piece each or in several. */
function putParts (batch: Batch, name: string, lengths: readonly number[], parts: readonly string[]): void {
  batch.putTexts(name, lengths.length === 1 ? '' : `+${lengths.join(' ')}|`, parts)
}

/** The texts of a run's messages, in order. */
export function textsOf (run: string): string[] {
  if (run.charCodeAt(0) !== plus) return [run]
  const bar = run.indexOf('|')
  let at = bar + 1
  return run.slice(1, bar).split(' ').map(length => {
    const from = at
    at += Number(length)
    return run.slice(from, at)
  })
}

/** How many messages a run has. */
function lengthOf (run: string): number {
  if (run.charCodeAt(0) !== plus) return 1
  let count = 1
  for (let at = run.indexOf(' '), bar = run.indexOf('|'); at >= 0 && at < bar; at = run.indexOf(' ', at + 1)) count++
  return count
}

/** The number of a run's first message; `last`: of its key. */
export function firstOf (run: string, last: number): number { return last - lengthOf(run) + 1 }

/** The messages of a run with everything that their rows say; `last`: the number in its key. */
export function decodeRun (run: string, last: number): MessageRow[] {
  const texts = textsOf(run)
  const first = last - texts.length + 1
  return texts.map((text, i) => decodeMessage(text, first + i))
}

/** The messages of a run as the contract shows them. */
export function decodeStoredRun (run: string, last: number): StoredMessage[] {
  if (run.charCodeAt(0) !== plus) return [decodeStored(run, last)]
  const texts = textsOf(run)
  const first = last - texts.length + 1
  return texts.map((text, i) => decodeStored(text, first + i))
}
