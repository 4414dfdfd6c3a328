import { isUtf8 } from 'node:buffer'
import { ProtocolError, malformed, reasonCodes } from './protocol-error.ts'
import type { FrameLimits } from './types.ts'

const slash = 0x2f
const plus = 0x2b
const hash = 0x23

/**
 * A UTF-8 encoded string. Throws `ProtocolError` when it is ill-formed, surrogates included ([MQTT-1.5.3-1] of 3.1.1, [MQTT-1.5.4-1] of
 * 5), or has U+0000 ([MQTT-1.5.3-2], [MQTT-1.5.4-2]). A byte order mark stays ([MQTT-1.5.3-3], [MQTT-1.5.4-3]).
 */
export function textOf (buf: Buffer, start: number, end: number): string {
  let ascii = true
  for (let at = start; at < end; at++) {
    const byte = buf[at] as number
    if (byte === 0) throw malformed('a string has U+0000')
    if (byte >= 0x80) ascii = false
  }
  return stringOf(buf, start, end, ascii)
}

/**
 * A topic name, as `textOf`. Throws `ProtocolError` (0x90) also when it has wildcards ([MQTT-3.3.2-2], [MQTT-4.7.1-1]) or is over a limit;
 * an empty one ([MQTT-4.7.3-1]) is the caller's, for MQTT 5 has a use for it.
 */
export function topicOf (buf: Buffer, start: number, end: number, limits: FrameLimits): string {
  if (end - start > limits.maxTopicBytes) throw invalidTopic('the topic is too long')
  let ascii = true
  let levels = 1
  for (let at = start; at < end; at++) {
    const byte = buf[at] as number
    if (byte === slash) levels++
    else if (byte === 0) throw malformed('the topic has U+0000')
    else if (byte === plus || byte === hash) throw invalidTopic('the topic has wildcards')
    else if (byte >= 0x80) ascii = false
  }
  if (levels > limits.maxTopicLevels) throw invalidTopic('the topic has too many levels')
  return stringOf(buf, start, end, ascii)
}

/**
 * A topic filter, as `textOf`. Throws `ProtocolError` (0x8f) also when it is empty ([MQTT-4.7.3-1]), over a limit, or has wildcards that do
 * not fill a level ([MQTT-4.7.1-2] and [MQTT-4.7.1-3] of 3.1.1, [MQTT-4.7.1-1] and [MQTT-4.7.1-2] of 5).
 */
export function filterOf (buf: Buffer, start: number, end: number, limits: FrameLimits): string {
  if (start === end) throw invalidFilter('a topic filter is empty')
  if (end - start > limits.maxTopicBytes) throw invalidFilter('a topic filter is too long')
  let ascii = true
  let levels = 1
  for (let at = start; at < end; at++) {
    const byte = buf[at] as number
    if (byte === slash) levels++
    else if (byte === 0) throw malformed('a topic filter has U+0000')
    else if (byte === plus || byte === hash) {
      const alone = (at === start || buf[at - 1] === slash) && (at + 1 === end || (byte === plus && buf[at + 1] === slash))
      if (!alone) throw invalidFilter('a wildcard of a topic filter does not fill a level')
    } else if (byte >= 0x80) ascii = false
  }
  if (levels > limits.maxTopicLevels) throw invalidFilter('a topic filter has too many levels')
  return stringOf(buf, start, end, ascii)
}

const share = '$share/'

/**
 * True for a shared subscription of MQTT 5. Throws `ProtocolError` (0x8f) when the share name is empty or has wildcards, or no filter
 * follows ([MQTT-4.8.2-1], [MQTT-4.8.2-2]).
 */
export function isShared (filter: string): boolean {
  if (!filter.startsWith(share)) return false
  const end = filter.indexOf('/', share.length)
  const name = end < 0 ? '' : filter.slice(share.length, end)
  if (name === '' || name === '+' || end === filter.length - 1) throw invalidFilter('a shared subscription needs a name and a filter')
  return true
}

export function invalidTopic (message: string): ProtocolError {
  return new ProtocolError(message, reasonCodes.topicNameInvalid)
}

export function invalidFilter (message: string): ProtocolError {
  return new ProtocolError(message, reasonCodes.topicFilterInvalid)
}

function stringOf (buf: Buffer, start: number, end: number, ascii: boolean): string {
  if (ascii) return buf.toString('latin1', start, end)
  if (!isUtf8(buf.subarray(start, end))) throw malformed('a string is not valid UTF-8')
  return buf.toString('utf8', start, end)
}
