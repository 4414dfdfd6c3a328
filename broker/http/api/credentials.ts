/** What a request says of who asks. */

/** `user`: who it claims to be; a token says that itself. */
export interface Credentials { readonly user: string | undefined, readonly secret: Buffer }

/** Challenges of an answer 401 (RFC 9110, section 11.6.1). */
export const challenges = ['Bearer realm="sabethes"', 'Basic realm="sabethes", charset="UTF-8"']

/** Characters of the header's value. */
const maxLength = 12_000

/** Reads `Authorization`: Basic (RFC 7617) or Bearer (RFC 6750, section 2.1). `undefined` when there is none, or none that can be read. */
export function readCredentials (header: string | undefined): Credentials | undefined {
  if (header === undefined || header.length > maxLength) return undefined
  const [, scheme = '', value = ''] = /^(basic|bearer) +([A-Za-z0-9\-._~+/]+=*) *$/i.exec(header) ?? []
  if (scheme === '') return undefined
  if (scheme.toLowerCase() === 'bearer') return { user: undefined, secret: Buffer.from(value) }
  const pair = Buffer.from(value, 'base64')
  const colon = pair.indexOf(0x3a)
  return colon < 0 ? undefined : { user: pair.toString('utf8', 0, colon), secret: pair.subarray(colon + 1) }
}
