/**
 * The order of user properties [MQTT-3.3.2-18] on their way through Aedes, whose codec makes an object by name of them: names lose their order, and
 * of a name whose first text is empty the others. So there they are all values of one name, which no client can send for U+0000 is in no
 * text of MQTT [MQTT-1.5.4-2], and so they lie in the store; what is written to a client has them as they came.
 */
import { afterValue, headerBytes, userProperty, varint, varintOf } from './publish-frame.ts'

const gatheredName = '\0'
/** The first value: a text that is not empty, or the next one would take its place. */
const mark = '='

interface Section { /** where the properties' length is */ at: number, start: number, end: number }

function sectionOf (frame: Buffer): Section {
  const header = headerBytes(frame)
  const at = header + 2 + frame.readUInt16BE(header) + ((frame[0] as number) & 6 ? 2 : 0)
  const [length, start] = varint(frame, at)
  return { at, start, end: start + length }
}

/** The texts of the user properties, names and values in turn, and the other properties. */
function sorted (frame: Buffer, { start, end }: Section): { texts: Buffer[], others: Buffer[] } {
  const texts: Buffer[] = []
  const others: Buffer[] = []
  for (let at = start; at < end;) {
    const from = at
    const id = frame[at++] as number
    const to = afterValue(frame, id, at)
    if (id !== userProperty) {
      others.push(frame.subarray(from, to))
    } else {
      const value = at + 2 + frame.readUInt16BE(at)
      texts.push(frame.subarray(at, value), frame.subarray(value, to))
    }
    at = to
  }
  return { texts, others }
}

function rebuilt (frame: Buffer, { at, end }: Section, properties: readonly Buffer[]): Buffer {
  const head = headerBytes(frame)
  const length = properties.reduce((bytes, one) => bytes + one.length, 0)
  const rest = [frame.subarray(head, at), varintOf(length), ...properties, frame.subarray(end)]
  return Buffer.concat([frame.subarray(0, 1), varintOf(rest.reduce((bytes, one) => bytes + one.length, 0)), ...rest])
}

const id = Buffer.from([userProperty])
/** A text with its length. */
const textOf = (text: string): Buffer => Buffer.concat([Buffer.from([0, text.length]), Buffer.from(text)])
const gathered = textOf(gatheredName)
const marked = textOf(mark)

/** A PUBLISH of a client of MQTT 5 for Aedes: with two user properties or more under one name; else the frame itself. */
export function gatherUserProperties (frame: Buffer): Buffer {
  const section = sectionOf(frame)
  if (section.start === section.end) return frame
  const { texts, others } = sorted(frame, section)
  // A single pair keeps its place.
  if (texts.length <= 2) return frame
  return rebuilt(frame, section, [...others, ...[marked, ...texts].flatMap(text => [id, gathered, text])])
}

/** A PUBLISH of Aedes for a client of MQTT 5, with the user properties as they came. */
export function spreadUserProperties (frame: Buffer): Buffer {
  const section = sectionOf(frame)
  if (section.start === section.end) return frame
  const { texts, others } = sorted(frame, section)
  if (texts.length < 2 || !(texts[0] as Buffer).equals(gathered)) return frame
  const own: Buffer[] = []
  // Each pair is the name that all have and a text; the first text is the mark.
  for (let i = 3; i + 2 < texts.length; i += 4) own.push(id, texts[i] as Buffer, texts[i + 2] as Buffer)
  return rebuilt(frame, section, [...others, ...own])
}

/** User properties as Aedes has them; the keys and values of an object of its codec. */
export function gatheredPairs (pairs: ReadonlyArray<readonly [string, string]>): Record<string, string | string[]> {
  const [first] = pairs
  return pairs.length === 1 && first !== undefined ? { [first[0]]: first[1] } : { [gatheredName]: [mark, ...pairs.flat()] }
}
