/**
 * The one table of refusal codes. Codes are API (clients compare them), texts are not.
 * `status` is the HTTP status, `reasonCode` the MQTT 5 reason code of PUBACK/PUBREC (MQTT 5.0, section 2.4).
 */
export const codes = {
  bad_payload: { status: 400, reasonCode: 0x99, text: 'the payload cannot be read' },
  unauthorized: { status: 401, reasonCode: 0x87, text: 'who you are is not known' },
  forbidden: { status: 403, reasonCode: 0x87, text: 'you may not do this' },
  blocked: { status: 403, reasonCode: 0x87, text: 'the receiver does not accept messages from you' },
  muted: { status: 403, reasonCode: 0x87, text: 'you are muted in this conversation' },
  banned: { status: 403, reasonCode: 0x87, text: 'this account is banned' },
  not_found: { status: 404, reasonCode: 0x87, text: 'there is no such thing' },
  conflict: { status: 409, reasonCode: 0x83, text: 'it exists already, or changed meanwhile' },
  too_large: { status: 413, reasonCode: 0x97, text: 'it is larger than the limit' },
  filtered: { status: 422, reasonCode: 0x83, text: 'the content was refused' },
  rate_limited: { status: 429, reasonCode: 0x97, text: 'too much in too short a time' },
  internal: { status: 500, reasonCode: 0x80, text: 'the server failed' },
  damaged: { status: 500, reasonCode: 0x80, text: 'what the server stored cannot be read any more: its operator can bring it back from a backup' },
  unavailable: { status: 503, reasonCode: 0x80, text: 'the server cannot do this now' }
} as const

/** A refusal code of the table above. */
export type Code = keyof typeof codes

/**
 * A refusal that a user may see. Thrown by the engine's control path; the commit path carries refusals as values.
 * `reason` is a text for people, `retryAfterMs` goes with `rate_limited` (milliseconds).
 */
export class Refusal extends Error {
  readonly code: Code
  readonly retryAfterMs: number | undefined

  constructor (code: Code, reason: string = codes[code].text, retryAfterMs?: number) {
    // An answer, not a fault: nobody reads where it was made, and finding that out costs more than the answer.
    const { stackTraceLimit } = Error
    Error.stackTraceLimit = 0
    super(reason)
    Error.stackTraceLimit = stackTraceLimit
    this.name = 'Refusal'
    this.code = code
    this.retryAfterMs = retryAfterMs
  }
}
