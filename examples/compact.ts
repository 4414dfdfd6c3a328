/**
 * Reads what a client gets that has subscribed to `im/u/{me}/compact` (topics.md, "The compact form"). Nothing is needed but this file: copy it.
 *
 *   client.on('message', (topic, payload) => { show(expand(topic, payload.toString())) })
 */

/** Members of a message that are sent when they are not what one would expect. */
interface More { type?: string, cid?: string, ts?: number, replyTo?: unknown, mentions?: unknown, meta?: unknown }
type CompactMessage = [seq: number, id: string, who: string, body: unknown, more?: More]
type CompactReceipt = [eseq: number, kind: string, who: string, seq: number, ts: number]

/**
 * The whole envelope, event or notice that the payload stands for, as an object. What is whole already stays as it is: a server may send any message so.
 * A `cid` that the server made for a sender without one is not sent, and so is missing. Throws `SyntaxError` for a payload that is no JSON.
 */
export function expand (topic: string, payload: string): Record<string, unknown> {
  const value = JSON.parse(payload) as Record<string, unknown> | CompactMessage | CompactReceipt
  if (!Array.isArray(value)) return value
  const [, me = '', leaf] = /(?:^|\/)u\/([^/]+)\/(inbox|event)$/.exec(topic) ?? []
  if (leaf === 'event') return receipt(value as CompactReceipt, me)
  return message(value as CompactMessage, leaf === 'inbox' ? `u/${me}` : topic.slice(topic.lastIndexOf('/g/') + 1))
}

/** `place`: of the topic, `u/{me}` for the inbox or `g/{gid}`. */
function message ([seq, id, who, body, { type, cid, ts, ...attributes } = {}]: CompactMessage, place: string): Record<string, unknown> {
  const own = who.startsWith('>')
  const from = own ? place.slice(2) : who
  const to = own ? who.slice(1) : place
  return {
    v: 1,
    conv: to.startsWith('g/') ? `g:${to.slice(2)}` : direct(from, to.slice(2)),
    seq,
    id,
    ...cid !== undefined && { cid },
    from,
    to,
    ts: ts ?? Number.parseInt(id.slice(0, 9), 36),
    type: type ?? (typeof body === 'string' ? 'text' : 'json'),
    body,
    ...attributes
  }
}

function receipt ([eseq, kind, who, seq, ts]: CompactReceipt, me: string): Record<string, unknown> {
  const own = who.startsWith('>')
  const conv = who.startsWith('>g/') ? `g:${who.slice(3)}` : direct(me, own ? who.slice(3) : who)
  return { kind, conv, seq, by: own ? me : who, ts, eseq }
}

/** The conversation of two users: ids are ASCII, and ordered by it. */
function direct (a: string, b: string): string { return a <= b ? `d:${a}:${b}` : `d:${b}:${a}` }
