import type { Logger } from 'pino'
import { Refusal } from '../../errors.ts'
import type { Answer } from '../../link/port.ts'

/** Too many connections want one session. They are answered late: clients that fight for it come back at once. */
export class Contested extends Refusal {
  constructor (reason: string) { super('rate_limited', reason) }
}

/**
 * Logs what could not be done for a client. Most of it is the store's outage, which is told elsewhere and which clients meet
 * as often as they like: a line, and its stack for those who look (level debug). An error of the program is one of level error.
 */
export function logFailure (log: Logger, err: Error, fields: object, text: string): void {
  if (err instanceof TypeError || err instanceof RangeError || err instanceof ReferenceError) return log.error({ err, ...fields }, text)
  log.warn({ ...fields, reason: err.message }, text)
  log.debug({ err }, text)
}

/** Throws `Refusal` for an answer that is one. */
export function valueOf<Value> (answer: Answer<Value>): Value {
  if (answer.ok) return answer.value
  throw new Refusal(answer.code, answer.reason, answer.retryAfterMs)
}
