import { Refusal } from '../errors.ts'
import type { Answer } from '../link/port.ts'

/** A refusal of `work` as a value; anything else that it throws is thrown. */
export async function answered<Value> (work: Promise<Value>): Promise<Answer<Value>> {
  try {
    return { ok: true, value: await work }
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    const { code, message: reason, retryAfterMs } = error
    return { ok: false, code, reason, ...(retryAfterMs !== undefined && { retryAfterMs }) }
  }
}
