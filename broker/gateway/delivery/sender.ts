/** Characters of an envelope in which its sender is found: conversation, number, id and cid come before. */
const headChars = 640
const from = '"from":"'

/** Who a message is from, as its envelope says. A quotation mark in a `cid` has a backslash before it: what is found is the member. */
export function senderOf (payload: Uint8Array): string | undefined {
  const head = Buffer.from(payload.buffer, payload.byteOffset, Math.min(payload.length, headChars)).toString('latin1')
  const at = head.indexOf(from)
  return at < 0 ? undefined : head.slice(at + from.length, head.indexOf('"', at + from.length))
}
