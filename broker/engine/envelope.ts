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
  const { cid } = facts
  const cidMember = cid === undefined ? '' : plain.test(cid) ? `"cid":"${cid}",` : `"cid":${JSON.stringify(cid)},`
  return `"id":"${facts.id}",${cidMember}${sidesAndTime(facts)}${facts.tail}`
}

/** The members from `from` to `ts`: the same for most messages of a burst, which comes from one sender to one recipient. */
function sidesAndTime ({ from, to, ts }: EnvelopeFacts): string {
  if (from !== last.from || ts !== last.ts || to.id !== last.id || to.kind !== last.kind) {
    last = { from, kind: to.kind, id: to.id, ts, text: `"from":"${from}","to":"${to.kind === 'user' ? 'u' : 'g'}/${to.id}","ts":${ts},` }
  }
  return last.text
}

let last = { from: '', kind: '', id: '', ts: NaN, text: '' }

/** The `tail` of an envelope whose members are at hand as values; for the server's own messages. */
export function envelopeTail (type: string, body: unknown): string {
  return `"type":${JSON.stringify(type)},"body":${JSON.stringify(body ?? null)}`
}

/** A whole envelope as JSON text. */
export function envelopeText (conv: string, seq: number, content: string): string {
  return `{"v":1,"conv":"${conv}","seq":${seq},${content}}`
}

/** What envelopes are written into, and how far it is full: each has a place of its own. */
const slabBytes = 16 * 1024
const closingBrace = 0x7d
let slab = Buffer.allocUnsafeSlow(slabBytes)
let slabAt = 0

/** A whole envelope as sent to receivers: UTF-8 JSON. */
export function envelope (conv: string, seq: number, content: string): Buffer {
  // A character has three bytes at most: nobody has to count them before.
  const most = (conv.length + content.length + 64) * 3
  if (most > slabBytes / 4) return Buffer.from(envelopeText(conv, seq, content))
  if (slabAt + most > slabBytes) {
    slab = Buffer.allocUnsafeSlow(slabBytes)
    slabAt = 0
  }
  const from = slabAt
  // Not put together as text before: that would be one more copy of the content for the collector of garbage.
  slabAt += slab.write(`{"v":1,"conv":"${conv}","seq":${seq},`, from)
  slabAt += slab.write(content, slabAt)
  slab[slabAt++] = closingBrace
  return slab.subarray(from, slabAt)
}

/** An event as JSON text: the stored object with `eseq`, its number in the event log, as its last member (`seq` is a message's). */
export function eventText (seq: number, content: string): string {
  return content === '{}' ? `{"eseq":${seq}}` : `${content.slice(0, -1)},"eseq":${seq}}`
}

/** An event as sent to the user's devices: UTF-8 JSON. */
export function eventPayload (seq: number, content: string): Buffer {
  return Buffer.from(eventText(seq, content))
}
