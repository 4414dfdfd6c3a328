import type { Test } from 'tap'
import { ProtocolError } from '../../broker/mqtt/index.ts'

/** Bytes by hand: a number is one byte, a string a UTF-8 string with its length, a buffer itself. */
export function bytes (...parts: Array<number | string | Buffer>): Buffer {
  return Buffer.concat(parts.map(part => {
    if (typeof part === 'number') return Buffer.from([part])
    if (typeof part === 'string') return prefixed(Buffer.from(part))
    return part
  }))
}

/** A string's bytes with their length before them; for what no string can hold. */
export function prefixed (content: Buffer): Buffer {
  return Buffer.concat([Buffer.from([content.length >> 8, content.length & 0xff]), content])
}

/** Content that is not a UTF-8 string of MQTT ([MQTT-1.5.3-1], [MQTT-1.5.3-2]). */
export const badTexts: Array<[name: string, content: Buffer]> = [
  ['U+0000', Buffer.from('a\0b')],
  ['a lone continuation byte', Buffer.from([0x61, 0x80])],
  ['an overlong form', Buffer.from([0xc0, 0xaf])],
  ['a truncated sequence', Buffer.from([0x61, 0xe2, 0x82])],
  ['a high surrogate', Buffer.from([0xed, 0xa0, 0x80])],
  ['a surrogate pair as two sequences', Buffer.from([0xed, 0xa0, 0x80, 0xed, 0xb0, 0x80])],
  ['a code point over U+10FFFF', Buffer.from([0xf4, 0x90, 0x80, 0x80])]
]

/** Asserts that `run` throws a `ProtocolError` with these codes. */
export function refuses (test: Test, name: string, run: () => unknown, reasonCode: number, connackCode?: number): void {
  let thrown: unknown
  try {
    run()
  } catch (error) {
    thrown = error
  }
  test.ok(thrown instanceof ProtocolError, `${name} is refused`)
  if (!(thrown instanceof ProtocolError)) return
  test.equal(thrown.reasonCode, reasonCode, `${name}: reason code (${thrown.message})`)
  test.equal(thrown.connackCode, connackCode, `${name}: return code`)
}
