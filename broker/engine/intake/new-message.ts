/** The row of a message that may be stored. */
import { crc32 } from 'node:zlib'
import type { Submission } from '../../link/port.ts'
import type { Draft } from '../../plugin-api.ts'
import type { NewMessage } from '../../store/store.ts'
import { envelopeContent } from '../envelope.ts'
import type { EngineHost } from '../host.ts'
import type { Read } from './payload.ts'

/** The message of a submission, with its id and time. */
export function newMessage (host: Pick<EngineHost, 'newId' | 'now'>, submission: Submission, read: Read, draft: Draft): NewMessage {
  const { user, session, packetId, expirySeconds, resends } = submission
  const { conv, to } = draft
  const ts = host.now()
  const id = host.newId(ts)
  const { tail } = read
  const given = read.cid ?? submission.cid
  let cid = given
  let resend: NewMessage['resend']
  if (cid === undefined && submission.qos > 0) {
    const digest = digestOf(conv, submission.payload)
    // A session that ends with its connection is remembered nowhere: what comes with DUP is a new message.
    if (resends !== undefined) {
      const { epoch, last } = resends
      resend = { session, packetId, digest, dup: submission.dup, epoch, number: submission.number ?? 0, proven: submission.proven ?? 0 }
      if (last !== undefined) resend.last = last
    }
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

/** Tells a resend from another message with the same packet id: what was sent, and to whom. */
function digestOf (conv: string, payload: Uint8Array): string {
  // Messages come in bursts of one sender to one conversation.
  if (conv !== lastConv) {
    lastConv = conv
    lastSum = crc32(conv)
  }
  return `${crc32(payload, lastSum).toString(36)}.${payload.length.toString(36)}`
}

let lastConv = ''
let lastSum = 0
