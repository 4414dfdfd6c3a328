/** The messages of SCRAM (RFC 5802, sections 5 and 7), read strictly. What cannot be read is refused as `bad_payload`. */
import { Refusal } from '../../errors.ts'
import { isId } from '../../topics.ts'

/** What is longer is no message of SCRAM, bytes. */
export const maxMessageBytes = 1024

export interface ClientFirst {
  /** The gs2-header, as the last message has to repeat it. */
  header: string
  user: string
  nonce: string
  /** client-first-message-bare. */
  bare: string
}

export interface ClientFinal {
  /** The gs2-header that the client says it has sent. */
  header: string
  nonce: string
  proof: Buffer
  /** client-final-message-without-proof. */
  bare: string
}

/** Printable ASCII without the comma. */
const printable = /^[\x21-\x2b\x2d-\x7e]+$/
const base64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/

/**
 * client-first-message. Channel binding is not offered: `n` and `y` (the client could, and heard that the server cannot) are right,
 * `p` asks for it. Another authorization identity than the user's own is nobody's right.
 */
export function readClientFirst (data: Uint8Array): ClientFirst {
  const { header, authzid, bare } = readHeader(textOf(data))
  const [name = '', nonce = '', ...extensions] = bare.split(',')
  if (name.startsWith('m=')) throw unreadable('it has an extension that is not known')
  if (!name.startsWith('n=') || !nonce.startsWith('r=')) throw unreadable('name or nonce is missing')
  if (!printable.test(nonce.slice(2))) throw unreadable('the nonce is not printable')
  checkExtensions(extensions)
  const user = name.slice(2)
  // Names of users are ASCII without "=" and ",": SASLprep and saslname leave them as they are.
  if (!isId(user)) throw new Refusal('bad_payload', 'a user name is 1 to 64 of A-Z a-z 0-9 . _ -')
  if (authzid !== undefined && authzid !== user) throw new Refusal('forbidden', 'nobody signs in as somebody else')
  return { header, user, nonce: nonce.slice(2), bare }
}

/** gs2-header, and what follows it. */
function readHeader (text: string): { header: string, authzid: string | undefined, bare: string } {
  const [, header, binding, authzid, bare] = /^((n|y|p=[A-Za-z0-9.-]+),(?:a=([^,]+))?,)(.*)$/s.exec(text) ?? []
  if (header === undefined || binding === undefined || bare === undefined) throw unreadable('it has no header')
  if (binding.startsWith('p')) throw unreadable('channel binding is not offered')
  return { header, authzid, bare }
}

/** client-final-message. */
export function readClientFinal (data: Uint8Array): ClientFinal {
  const text = textOf(data)
  const [, bare = '', proof = ''] = /^(.*),p=([^,]*)$/s.exec(text) ?? []
  const [binding = '', nonce = '', ...extensions] = bare.split(',')
  if (!binding.startsWith('c=') || !nonce.startsWith('r=')) throw unreadable('channel binding, nonce or proof is missing')
  checkExtensions(extensions)
  return { header: bytesOf(binding.slice(2)).toString('latin1'), nonce: nonce.slice(2), proof: bytesOf(proof), bare }
}

export function serverFirst (nonce: string, salt: Buffer, iterations: number): string {
  return `r=${nonce},s=${salt.toString('base64')},i=${iterations}`
}

export function serverFinal (signature: Buffer): string { return `v=${signature.toString('base64')}` }

function textOf (data: Uint8Array): string {
  if (data.length > maxMessageBytes) throw unreadable(`it has more than ${maxMessageBytes} bytes`)
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength)
  const text = bytes.toString('utf8')
  if (text.includes('\0') || !bytes.equals(Buffer.from(text, 'utf8'))) throw unreadable('it is no UTF-8')
  return text
}

function bytesOf (text: string): Buffer {
  if (!base64.test(text)) throw unreadable('it is no base64')
  return Buffer.from(text, 'base64')
}

/** Those that are not known have no meaning (RFC 5802, section 5.1), but must be written as one. */
function checkExtensions (extensions: readonly string[]): void {
  if (!extensions.every(one => /^[A-Za-z]=[^,]+$/s.test(one) && !one.startsWith('m='))) throw unreadable('an extension cannot be read')
}

function unreadable (why: string): Refusal { return new Refusal('bad_payload', `the message of SCRAM cannot be read: ${why}`) }
