/** The row of a message that may be stored. */
import { crc32 } from 'node:zlib'
import type { Submission } from '../../link/port.ts'
import type { Draft } from '../../plugin-api.ts'
import type { NewMessage, Resend } from '../../store/store.ts'
import type { Unstored } from '../commit/commit-queue.ts'
import { envelopeContent } from '../envelope.ts'
import type { EngineHost } from '../host.ts'
import type { Read } from './payload.ts'

/** The message of a submission, with its id and time. */
export function newMessage (host: Pick<EngineHost, 'newId' | 'now'>, submission: Submission, read: Read, draft: Draft): NewMessage {
  const { user, packetId, expirySeconds } = submission
  const { conv, to } = draft
  const ts = host.now()
  const id = host.newId(ts)
  const { tail } = read
  const given = read.cid ?? submission.cid
  let cid = given
  let resend: NewMessage['resend']
  if (cid === undefined && submission.qos > 0) {
    const digest = digestOf(conv, submission.payload)
    resend = resendOf(submission, digest)
    // Packet ids come again, equal words too: the id's part keeps apart what is not a resend.
    cid = `~${packetId}.${digest}.${id.slice(0, 13)}`
  }
  const message: NewMessage = {
    op: 'message',
    conv,
    from: user,
    id,
    ts,
    counts: true,
    marksSender: true,
    content: envelopeContent({ id, cid: cid ?? id, from: user, to, ts, tail })
  }
  if (resend !== undefined) message.resend = resend
  else if (given !== undefined) message.cid = given
  if (expirySeconds !== undefined) message.expiresAt = ts + expirySeconds * 1000
  return message
}

/** What of a publish failed before its message was made: with it the next connection's resend is known. */
export function unstored (submission: Submission, conv: string): Unstored | undefined {
  const resend = submission.resends === undefined ? undefined : resendOf(submission, digestOf(conv, submission.payload))
  return resend === undefined ? undefined : { conv, resend }
}

/** `undefined` for a session that ends with its connection: it is remembered nowhere, and what comes with DUP is a new message. */
function resendOf ({ session, packetId, dup, number = 0, proven = 0, resends }: Submission, digest: string): Resend | undefined {
  if (resends === undefined) return undefined
  const { epoch, last } = resends
  const resend: Resend = { session, packetId, digest, dup, epoch, number, proven }
  if (last !== undefined) resend.last = last
  return resend
}

/** Tells a resend from another message with the same packet id: what was sent, and to whom. */
function digestOf (conv: string, payload: Uint8Array): string {
  // Messages come in bursts of one sender to one conversation.
  if (conv !== lastConv) {
    lastConv = conv
    lastSum = crc32(conv)
  }
  return `${base36(crc32(payload, lastSum))}.${base36(payload.length)}`
}

const pair = 36 * 36
const padded = Array.from({ length: pair }, (_, n) => n.toString(36).padStart(2, '0'))
const plain = Array.from({ length: pair }, (_, n) => n.toString(36))

/** `n.toString(36)` of a whole number below 2³²; V8 takes ten times as long, as it has to think of fractions. */
export function base36 (n: number): string {
  if (n < pair) return plain[n] as string
  const rest = Math.floor(n / pair)
  const low = padded[n - rest * pair] as string
  if (rest < pair) return (plain[rest] as string) + low
  const front = Math.floor(rest / pair)
  const middle = padded[rest - front * pair] as string
  return (front < pair ? plain[front] as string : front.toString(36)) + middle + low
}

let lastConv = ''
let lastSum = 0
