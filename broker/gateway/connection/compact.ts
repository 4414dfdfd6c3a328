/**
 * The compact form of what a session is delivered (topics.md, "The compact form"): what the receiver knows from the topic, from its own name and
 * from the rest is left out. It is cut out of the whole one, byte by byte as that was written; `examples/compact.ts` reads it.
 */

const [quote, backslash, openArray, openObject, closeArray, closeObject] = [0x22, 0x5c, 0x5b, 0x7b, 0x5d, 0x7d]

/** What an envelope begins with, up to its body. What begins otherwise (a message that the disk has lost) goes out as it is. */
const envelopeHead = /^\{"v":1,"conv":"[^"\\]*","seq":(\d+),"id":"([0-9a-z]+)",(?:"cid":"((?:[^"\\]|\\.)*)",)?"from":"([^"\\]*)","to":"([^"\\]*)","ts":(\d+),"type":"([^"\\]*)","body":/
const receipt = /^\{"kind":"(delivered|read)","conv":"([^"\\]*)","seq":(\d+),"by":"([^"\\]*)","ts":(\d+),"eseq":(\d+)\}$/

/** Characters of an id that are its time (milliseconds, base 36), and those that a cid of the server's ends with. */
const timeDigits = 9
const cidDigits = 13

/**
 * A message: `[seq,"id","who",body]`, and what else there is to say as a fifth element. `text`: the whole envelope, a character a byte. `reader`:
 * whose inbox it is for; without it, it is for a topic that names the group. `undefined` when it has no compact form.
 */
export function compactEnvelope (text: string, reader: string | undefined): string | undefined {
  const found = envelopeHead.exec(text)
  if (found === null) return undefined
  const [head, seq, id, cid, from, to, ts, type] = found as unknown as [string, string, string, string | undefined, string, string, string, string]
  const bodyEnd = valueEnd(text, head.length)
  if (bodyEnd === -1) return undefined
  const ordinary = text.charCodeAt(head.length) === quote ? 'text' : 'json'
  let more = type === ordinary ? '' : `,"type":"${type}"`
  if (cid !== undefined && cid !== id && !isServers(cid, id)) more += `,"cid":"${cid}"`
  if (Number.parseInt(id.slice(0, timeDigits), 36) !== Number(ts)) more += `,"ts":${ts}`
  more += text.slice(bodyEnd, -1)
  const who = from === reader ? `>${to}` : from
  const body = text.slice(head.length, bodyEnd)
  return more === '' ? `[${seq},"${id}","${who}",${body}]` : `[${seq},"${id}","${who}",${body},{${more.slice(1)}}]`
}

/** A receipt: `[eseq,"kind","who",seq,ts]`. `undefined` for other events. */
export function compactEvent (text: string, reader: string): string | undefined {
  const found = receipt.exec(text)
  if (found === null) return undefined
  const [, kind, conv, seq, by, ts, eseq] = found as unknown as [string, string, string, string, string, string, string]
  const who = whose(conv, by, reader)
  return who === undefined ? undefined : `[${eseq},"${kind}","${who}",${seq},${ts}]`
}

/** Of a receipt: the other user, or where the reader's own other device is. */
function whose (conv: string, by: string, reader: string): string | undefined {
  if (conv.startsWith('g:')) return by === reader ? `>g/${conv.slice(2)}` : undefined
  const cut = conv.indexOf(':', 2)
  const [a, b] = [conv.slice(2, cut), conv.slice(cut + 1)]
  const peer = a === reader ? b : a
  return by === reader ? `>u/${peer}` : by === peer ? by : undefined
}

/** A cid that the server made for a sender that gave none: nobody else knows the id that it ends with. */
function isServers (cid: string, id: string): boolean { return cid.startsWith('~') && cid.endsWith(`.${id.slice(0, cidDigits)}`) }

/** Where the JSON value ends that begins at `at`; the text is a whole object, and the value one of its members'. -1 when it does not end. */
function valueEnd (text: string, at: number): number {
  const first = text.charCodeAt(at)
  if (first === quote) return stringEnd(text, at)
  if (first !== openArray && first !== openObject) {
    const comma = text.indexOf(',', at)
    return comma === -1 ? text.length - 1 : comma
  }
  let depth = 0
  for (let i = at; i < text.length; i++) {
    const char = text.charCodeAt(i)
    if (char === quote) {
      i = stringEnd(text, i) - 1
      if (i < 0) return -1
    } else if (char === openArray || char === openObject) depth++
    else if ((char === closeArray || char === closeObject) && --depth === 0) return i + 1
  }
  return -1
}

/** Where the JSON string ends that begins at `at`; -1 when it does not. */
function stringEnd (text: string, at: number): number {
  for (let end = text.indexOf('"', at + 1); end !== -1; end = text.indexOf('"', end + 1)) {
    let escapes = end
    while (text.charCodeAt(escapes - 1) === backslash) escapes--
    if ((end - escapes) % 2 === 0) return end + 1
  }
  return -1
}
