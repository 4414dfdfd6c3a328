/** Writes what receivers get: message envelopes and events. The one place that knows where `conv` and `seq` stand. */

/** What an envelope says beside `v`, `conv` and `seq`. */
export interface EnvelopeFacts {
  id: string
  /** Absent for the server's own messages. */
  cid?: string
  from: string
  to: { kind: 'user' | 'group', id: string }
  /** Milliseconds since the epoch. */
  ts: number
  /** The members from `type` on, as JSON text without braces: `"type":"text","body":"hi"`. */
  tail: string
}

// Needs no escaping in JSON: printable ASCII without quotation mark and backslash.
const plain = /^[ !#-[\]-~]*$/

/** The stored part of an envelope (`NewMessage.content`): its members after `conv` and `seq`, without braces. */
export function envelopeContent (facts: EnvelopeFacts): string {
  const { cid, to } = facts
  const cidMember = cid === undefined ? '' : plain.test(cid) ? `"cid":"${cid}",` : `"cid":${JSON.stringify(cid)},`
  return `"id":"${facts.id}",${cidMember}"from":"${facts.from}","to":"${to.kind === 'user' ? 'u' : 'g'}/${to.id}","ts":${facts.ts},${facts.tail}`
}

/** The `tail` of an envelope whose members are at hand as values; for the server's own messages. */
export function envelopeTail (type: string, body: unknown): string {
  return `"type":${JSON.stringify(type)},"body":${JSON.stringify(body ?? null)}`
}

/** A whole envelope as JSON text. */
export function envelopeText (conv: string, seq: number, content: string): string {
  return `{"v":1,"conv":"${conv}","seq":${seq},${content}}`
}

/** A whole envelope as sent to receivers: UTF-8 JSON. */
export function envelope (conv: string, seq: number, content: string): Buffer {
  return Buffer.from(envelopeText(conv, seq, content))
}

/** An event as JSON text: the stored object with `eseq`, its number in the event log, as its last member (`seq` is a message's). */
export function eventText (seq: number, content: string): string {
  return content === '{}' ? `{"eseq":${seq}}` : `${content.slice(0, -1)},"eseq":${seq}}`
}

/** An event as sent to the user's devices: UTF-8 JSON. */
export function eventPayload (seq: number, content: string): Buffer {
  return Buffer.from(eventText(seq, content))
}
