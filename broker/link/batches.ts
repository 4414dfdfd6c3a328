/**
 * Batches that cross between threads, by column: a clone of an object costs a microsecond for each few of its members, and a clone of an array of
 * numbers next to nothing. What is the same for a burst (its session, its conversation) crosses once.
 */
import type { Committed, Output, Submission } from './port.ts'
import { exact } from './bytes.ts'

/** What a session's publishes have in common. */
type Sender = Pick<Submission, 'session' | 'user' | 'target' | 'resends'>
/** What few publishes have. */
type Rare = Pick<Submission, 'cid' | 'key' | 'whole' | 'rid' | 'contentType' | 'utf8' | 'expirySeconds' | 'number' | 'proven'>

/** `numbers`: of each publish its ref, its sender, QoS and DUP, packet id, number, proven, the end of its payload in `bytes`, the place of what is rare (-1: nothing). */
export interface SubmissionBatch { readonly numbers: Float64Array<ArrayBuffer>, readonly senders: Sender[], readonly rares: Rare[], readonly bytes: Uint8Array<ArrayBuffer> }

const submissionColumns = 8
const dupBit = 4

/** For `postMessage(batch, transferOf(batch))`. */
export function encodeSubmissions (submissions: readonly Submission[]): SubmissionBatch {
  const numbers = new Float64Array(submissions.length * submissionColumns)
  const bytes = new Uint8Array(submissions.reduce((sum, { payload }) => sum + payload.length, 0))
  const senders: Sender[] = []
  const rares: Rare[] = []
  let last: Submission | undefined
  let [at, end] = [0, 0]
  for (const one of submissions) {
    if (last === undefined || one.session !== last.session || one.user !== last.user || one.target !== last.target || one.resends !== last.resends) senders.push(senderOf(one))
    last = one
    const { payload, number, proven } = one
    bytes.set(payload, end)
    end += payload.length
    numbers[at] = one.ref
    numbers[at + 1] = senders.length - 1
    numbers[at + 2] = one.qos + (one.dup ? dupBit : 0)
    numbers[at + 3] = one.packetId
    numbers[at + 4] = number ?? -1
    numbers[at + 5] = proven ?? -1
    numbers[at + 6] = end
    numbers[at + 7] = rareOf(one, rares)
    at += submissionColumns
  }
  return { numbers, senders, rares, bytes }
}

function senderOf ({ session, user, target, resends }: Submission): Sender {
  return resends === undefined ? { session, user, target } : { session, user, target, resends }
}

/** The place of what is rare about a publish. */
function rareOf ({ cid, key, whole, rid, contentType, utf8, expirySeconds }: Submission, rares: Rare[]): number {
  if (cid === undefined && key === undefined && whole === undefined && rid === undefined && contentType === undefined && utf8 === undefined && expirySeconds === undefined) return -1
  const rare: Rare = {}
  if (cid !== undefined) rare.cid = cid
  if (key !== undefined) rare.key = key
  if (whole !== undefined) rare.whole = whole
  if (rid !== undefined) rare.rid = rid
  if (contentType !== undefined) rare.contentType = contentType
  if (utf8 !== undefined) rare.utf8 = utf8
  if (expirySeconds !== undefined) rare.expirySeconds = expirySeconds
  return rares.push(rare) - 1
}

export function decodeSubmissions ({ numbers, senders, rares, bytes }: SubmissionBatch): Submission[] {
  const submissions: Submission[] = []
  let from = 0
  for (let at = 0; at < numbers.length; at += submissionColumns) {
    const sender = senders[numbers[at + 1] as number] as Sender
    const flags = numbers[at + 2] as number
    const end = numbers[at + 6] as number
    const submission: Submission = {
      ref: numbers[at] as number,
      session: sender.session,
      user: sender.user,
      target: sender.target,
      payload: bytes.subarray(from, end),
      qos: (flags & 3) as Submission['qos'],
      packetId: numbers[at + 3] as number,
      dup: (flags & dupBit) !== 0
    }
    from = end
    if (sender.resends !== undefined) submission.resends = sender.resends
    const number = numbers[at + 4] as number
    if (number >= 0) submission.number = number
    const proven = numbers[at + 5] as number
    if (proven >= 0) submission.proven = proven
    const rare = numbers[at + 7] as number
    if (rare >= 0) Object.assign(submission, rares[rare])
    submissions.push(submission)
  }
  return submissions
}

/**
 * `numbers`: of each output its kind, and of a message its conversation, number, sender, the end of its payload and when it expires (-1: never); of the
 * verdict on a message its ref, conversation, number and the end of its id in `ids`; of all others their place.
 */
export interface OutputBatch { readonly numbers: Float64Array<ArrayBuffer>, readonly names: string[], readonly ids: string, readonly others: Output[], readonly bytes: Uint8Array<ArrayBuffer> }

const outputColumns = 7
const kinds = { other: 0, message: 1, verdict: 2 } as const

/** Names that follow each other cross once. */
class Names {
  readonly list: string[] = []
  readonly #last = [-1, -1]

  /** `column`: names of one kind are alike one after the other. */
  place (column: 0 | 1, name: string): number {
    const last = this.#last[column] as number
    if (last >= 0 && this.list[last] === name) return last
    const place = this.list.push(name) - 1
    this.#last[column] = place
    return place
  }
}

/** For `postMessage(batch, transferOf(batch))`. */
export function encodeOutputs (outputs: readonly Output[]): OutputBatch {
  const numbers = new Float64Array(outputs.length * outputColumns)
  const bytes = new Uint8Array(outputs.reduce((sum, output) => sum + (output.kind === 'message' ? output.payload.length : 0), 0))
  const names = new Names()
  const others: Output[] = []
  let ids = ''
  let [at, end] = [0, 0]
  for (const output of outputs) {
    if (output.kind === 'message') {
      bytes.set(output.payload, end)
      end += output.payload.length
      numbers.set([kinds.message, names.place(0, output.conv), output.seq, names.place(1, output.from), end, output.expiresAt ?? -1, output.prevTs ?? -1], at)
    } else if (output.kind === 'verdict' && output.ok === true && output.conv !== undefined && output.id !== undefined && output.seq !== undefined && output.rid === undefined && output.stored === undefined) {
      ids += output.id
      numbers.set([kinds.verdict, output.ref, names.place(0, output.conv), output.seq, ids.length], at)
    } else {
      numbers.set([kinds.other, others.push(alone(output)) - 1], at)
    }
    at += outputColumns
  }
  return { numbers, names: names.list, ids, others, bytes }
}

/** Without the rest of the memory that its bytes lie in. */
function alone (output: Output): Output {
  if ('payload' in output) return { ...output, payload: exact(output.payload) }
  return 'answer' in output && output.answer !== undefined ? { ...output, answer: exact(output.answer) } : output
}

export function decodeOutputs ({ numbers, names, ids, others, bytes }: OutputBatch): Output[] {
  const outputs: Output[] = []
  let [from, idFrom] = [0, 0]
  const number = (at: number): number => numbers[at] as number
  const name = (at: number): string => names[number(at)] as string
  for (let at = 0; at < numbers.length; at += outputColumns) {
    if (number(at) === kinds.message) {
      const end = number(at + 4)
      const payload = bytes.subarray(from, end)
      const expiresAt = number(at + 5)
      from = end
      const message: Committed = { kind: 'message', conv: name(at + 1), seq: number(at + 2), from: name(at + 3), payload }
      if (expiresAt >= 0) message.expiresAt = expiresAt
      if (number(at + 6) >= 0) message.prevTs = number(at + 6)
      outputs.push(message)
    } else if (number(at) === kinds.verdict) {
      const idEnd = number(at + 4)
      outputs.push({ kind: 'verdict', ref: number(at + 1), ok: true, conv: name(at + 2), id: ids.slice(idFrom, idEnd), seq: number(at + 3) })
      idFrom = idEnd
    } else {
      outputs.push(others[number(at + 1)] as Output)
    }
  }
  return outputs
}

/** What of a batch changes hands. */
export function transferOf ({ numbers, bytes }: { numbers: Float64Array<ArrayBuffer>, bytes: Uint8Array<ArrayBuffer> }): ArrayBuffer[] { return [numbers.buffer, bytes.buffer] }
