const quote = 0x22
const backslash = 0x5c

/**
 * Whether JSON text nests arrays and objects deeper than `max`: a look at the bytes, so that what will be refused need not be
 * parsed. Of text that is no JSON it says anything.
 */
export function isDeeper (text: Uint8Array, max: number): boolean {
  let depth = 0
  for (let at = 0; at < text.length; at++) {
    const byte = text[at] as number
    if (byte === quote) at = endOfString(text, at + 1)
    // '[' and '{' are 0x5b and 0x7b, ']' and '}' 0x5d and 0x7d.
    else if ((byte | 0x20) === 0x7b) {
      if (++depth > max) return true
    } else if ((byte | 0x20) === 0x7d) depth--
  }
  return false
}

/** Where the quote that ends a string is; the end of the text if there is none. */
function endOfString (text: Uint8Array, from: number): number {
  for (let at = from; ;) {
    const end = text.indexOf(quote, at)
    if (end < 0) return text.length
    let escapes = 0
    while (end - escapes > from && text[end - escapes - 1] === backslash) escapes++
    if (escapes % 2 === 0) return end
    at = end + 1
  }
}
