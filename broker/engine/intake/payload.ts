/**
 * Reads what a sender published. Nothing that is typed is lost: what is not an envelope is text, what is not text is binary.
 *
 * - A JSON object whose keys are all envelope keys (`cid`, `type`, `body`, `replyTo`, `mentions`, `meta`) is structured.
 * - Any other UTF-8 is the text itself: `42`, `[1]`, `{}` and `{"temp":21}` arrive as typed.
 * - Other bytes are `type: "binary"`, base64. An empty payload is refused.
 *
 * The content type of MQTT 5 (section 3.3.2.3.9) decides where it is given: `text/*` is always text; `application/octet-stream`
 * always binary; `application/json` is an envelope, or any other JSON value as the body of type `json`, or refused. With the
 * payload format indicator 1 (section 3.3.2.3.2) anything but UTF-8 is refused.
 */
import { isUtf8 } from 'node:buffer'
import type { Code } from '../../errors.ts'
import { idPattern } from '../../topics.ts'
import { membersOf, spanOf, type Span } from './json-spans.ts'

/** Nesting of arrays and objects in `body`, `meta` and the parameters of requests. */
export const maxDepth = 32
/** Users in `mentions`. */
export const maxMentions = 100
/** Characters of `mentions` as they are sent: what is longer has more of them, or much white space. */
const maxMentionsLength = 16384
/** Characters of `meta` as it is sent. */
export const maxMetaLength = 16384

/** A payload that can be read. */
export interface Read {
  ok: true
  type: string
  /** Text for `text`, base64 for `binary`, any JSON value for other types. */
  readonly body: unknown
  /** `body` is an array or object, and made when it is asked for: most often nobody does. */
  readonly made: boolean
  cid: string | undefined
  /** The members of the envelope from `type` on, as JSON text without braces. */
  tail: string
}

/** A payload that is refused; `cid` where it could be read. */
export interface Unread { ok: false, code: Code, reason: string, cid: string | undefined }

const envelopeKeys = new Set(['cid', 'type', 'body', 'replyTo', 'mentions', 'meta'])
const cidPattern = /^[\x20-\x7e]{1,64}$/
const quote = 0x22
const openObject = 0x7b
const base64Pattern = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/

/** Reads a message's payload. The size limit is the caller's. Never throws. */
export function readPayload (payload: Uint8Array, contentType?: string, utf8?: boolean): Read | Unread {
  if (payload.length === 0) return refuse('bad_payload', 'the payload is empty')
  const media = contentType === undefined ? undefined : mediaType(contentType)
  if (media === 'application/octet-stream') return readBinary(payload)
  const plain = media === 'application/json' ? undefined : readPlain(payload, media === undefined)
  if (plain !== undefined) return plain
  const isText = isUtf8(payload)
  if (!isText) {
    if (utf8 === true || media !== undefined) return refuse('bad_payload', 'the payload is not UTF-8')
    return readBinary(payload)
  }
  if (media === 'application/json') return readJson(payload)
  if (media === undefined && opensObject(payload)) {
    const text = textOf(payload)
    return readEnvelope(text) ?? readText(text)
  }
  return readText(textOf(payload))
}

/** The sender has said the message's `cid` beside the payload, too: they have to be the same. */
export function withKey (read: Read | Unread, key: string | undefined): Read | Unread {
  if (key === undefined || !read.ok) return read
  if (!cidPattern.test(key)) return refuse('bad_payload', 'the key: 1 to 64 printable ASCII characters', read.cid)
  if (read.cid !== undefined && read.cid !== key) return refuse('bad_payload', 'cid: is not the key that the message was sent with', read.cid)
  read.cid = key
  return read
}

/** Parses JSON; `undefined` when it is none (no JSON text means `undefined`). */
export function parse (text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    // Not JSON is no fault here: it is text, or the caller refuses it.
    return undefined
  }
}

/** UTF-8 bytes as text. */
export function textOf (bytes: Uint8Array): string { return bufferOf(bytes).toString('utf8') }

/** True for a JSON object (no array, not null). */
export function isObject (value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/**
 * True when a parsed JSON value can be written again as it was: nested at most `depth` deep, numbers within the range of a
 * double (RFC 8259, section 6: others are not interoperable; `1e999` would become `null`).
 */
export function isKeepable (value: unknown, depth: number = maxDepth): boolean {
  if (typeof value === 'number') return Number.isFinite(value)
  if (typeof value !== 'object' || value === null) return true
  if (depth === 0) return false
  for (const inner of Array.isArray(value) ? value : Object.values(value)) {
    if (!isKeepable(inner, depth - 1)) return false
  }
  return true
}

// Needs no escaping in JSON: printable ASCII without quotation mark and backslash.
const plainText = /^[ !#-[\]-~]*$/

/** Most messages are a few words that stand in JSON as they are; `undefined` for others. `guess`: what opens like an object may be one. */
function readPlain (payload: Uint8Array, guess: boolean): Read | undefined {
  if (guess && opensObject(payload)) return undefined
  const text = bufferOf(payload).toString('latin1')
  return plainText.test(text) ? { ok: true, type: 'text', body: text, made: false, cid: undefined, tail: `"type":"text","body":"${text}"` } : undefined
}

function readText (text: string): Read {
  return { ok: true, type: 'text', body: text, made: false, cid: undefined, tail: '"type":"text","body":' + JSON.stringify(text) }
}

function readBinary (payload: Uint8Array): Read {
  const body = bufferOf(payload).toString('base64')
  return { ok: true, type: 'binary', body, made: false, cid: undefined, tail: `"type":"binary","body":"${body}"` }
}

function readJson (payload: Uint8Array): Read | Unread {
  const text = textOf(payload)
  const envelope = readEnvelope(text)
  if (envelope !== undefined) return envelope
  const span = spanOf(text)
  if (span === undefined) return refuse('bad_payload', 'the payload is not JSON')
  if (!keepable(span)) return refuse('bad_payload', tooDeep('body'))
  return written('json', text, span, undefined, '')
}

/** `undefined` when the text is no envelope. */
function readEnvelope (text: string): Read | Unread | undefined {
  const members = membersOf(text, envelopeKeys)
  if (members === undefined || members.size === 0) return undefined
  const cid = scalarAt(text, members.get('cid'))
  if (cid !== undefined && (typeof cid !== 'string' || !cidPattern.test(cid))) {
    return refuse('bad_payload', 'cid: 1 to 64 printable ASCII characters')
  }
  const body = members.get('body')
  if (body === undefined) return refuse('bad_payload', 'body is missing', cid)
  const isString = text.charCodeAt(body.from) === quote
  const type = scalarAt(text, members.get('type')) ?? (isString ? 'text' : 'json')
  if (typeof type !== 'string' || !idPattern.test(type)) return refuse('bad_payload', 'type: 1 to 64 of A-Z a-z 0-9 . _ -', cid)
  const refusal = typeRefusal(type, isString ? valueAt(text, body) : undefined, cid)
  if (refusal !== undefined) return refusal
  if (!keepable(body)) return refuse('bad_payload', tooDeep('body'), cid)
  const attributes = readAttributes(text, members, cid)
  if (typeof attributes !== 'string') return attributes
  return written(type, text, body, cid, attributes)
}

/** A message whose body is written in the text. */
function written (type: string, text: string, body: Span, cid: string | undefined, attributes: string): Read {
  const tail = `"type":"${type}","body":${text.slice(body.from, body.to)}${attributes}`
  if (body.depth === 0) return { ok: true, type, body: valueAt(text, body), made: false, cid, tail }
  let made: unknown
  return {
    ok: true,
    type,
    get body () {
      made ??= valueAt(text, body)
      return made
    },
    made: true,
    cid,
    tail
  }
}

/** The text, number or word at a place; an array or object, which nobody asked for there, is not made. `undefined` where there is nothing. */
function scalarAt (text: string, span: Span | undefined): unknown { return span !== undefined && span.depth > 0 ? {} : valueAt(text, span) }

/** The value in the text; `undefined` where there is none. */
function valueAt (text: string, span: Span | undefined): unknown {
  return span === undefined ? undefined : JSON.parse(text.slice(span.from, span.to))
}

function keepable ({ depth, finite }: Span): boolean { return depth <= maxDepth && finite }

/** Why a body is refused as one of its type; `body` when it is a string. */
function typeRefusal (type: string, body: unknown, cid: string | undefined): Unread | undefined {
  if (type === 'system') return refuse('forbidden', 'only the server sends messages of type system', cid)
  if (type === 'text' && typeof body !== 'string') return refuse('bad_payload', 'body: text where type is text', cid)
  if (type === 'binary' && (typeof body !== 'string' || !base64Pattern.test(body))) {
    return refuse('bad_payload', 'body: base64 where type is binary', cid)
  }
  return undefined
}

/** What an envelope may say beside its body, as JSON text that follows it. */
function readAttributes (text: string, members: ReadonlyMap<string, Span>, cid: string | undefined): string | Unread {
  let attributes = ''
  const replyTo = members.get('replyTo')
  if (replyTo !== undefined) {
    if (!isMessageReference(scalarAt(text, replyTo))) return refuse('bad_payload', 'replyTo: the seq or the id of a message', cid)
    attributes += `,"replyTo":${text.slice(replyTo.from, replyTo.to)}`
  }
  const mentions = members.get('mentions')
  if (mentions !== undefined) {
    if (mentions.depth !== 1 || mentions.to - mentions.from > maxMentionsLength || !areMentions(valueAt(text, mentions))) return refuse('bad_payload', `mentions: at most ${maxMentions} user ids`, cid)
    attributes += `,"mentions":${text.slice(mentions.from, mentions.to)}`
  }
  const meta = members.get('meta')
  if (meta !== undefined) {
    if (text.charCodeAt(meta.from) !== openObject) return refuse('bad_payload', 'meta: an object', cid)
    if (!keepable(meta)) return refuse('bad_payload', tooDeep('meta'), cid)
    if (meta.to - meta.from > maxMetaLength) return refuse('too_large', `meta: at most ${maxMetaLength} characters`, cid)
    attributes += `,"meta":${text.slice(meta.from, meta.to)}`
  }
  return attributes
}

function isMessageReference (value: unknown): boolean {
  return typeof value === 'string' ? idPattern.test(value) : Number.isSafeInteger(value) && (value as number) > 0
}

function areMentions (value: unknown): boolean {
  return Array.isArray(value) && value.length <= maxMentions && value.every(id => typeof id === 'string' && idPattern.test(id))
}

/** The media types that decide how a payload is read; `text/plain` stands for all of `text/*`. */
function mediaType (contentType: string): 'application/json' | 'application/octet-stream' | 'text/plain' | undefined {
  const end = contentType.indexOf(';')
  const media = (end < 0 ? contentType : contentType.slice(0, end)).trim().toLowerCase()
  if (media === 'application/json' || media === 'application/octet-stream') return media
  return media.startsWith('text/') ? 'text/plain' : undefined
}

// Most messages are text: only what opens like an object goes through the JSON parser.
function opensObject (payload: Uint8Array): boolean {
  for (let i = 0; i < payload.length; i++) {
    const byte = payload[i]
    if (byte === openObject) return true
    if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return false
  }
  return false
}

function bufferOf (bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function tooDeep (member: string): string { return `${member}: nested deeper than ${maxDepth}, or a number out of range` }

function refuse (code: Code, reason: string, cid?: string): Unread { return { ok: false, code, reason, cid } }
