/** One question to an account system: what it is sent, and what its answer means. */
import { createHmac } from 'node:crypto'
import { z } from 'zod'
import type { OutgoingAnswer, OutgoingRequest } from '../../../outgoing.ts'
import { isId } from '../../../topics.ts'

/** Who wants to be let in, as the account system is told. */
export interface Question { user: string | null, password: string | null, clientId: string | null, address: string, protocol: string | null }

/** `until`: when the yes ends, milliseconds since the epoch. */
export type Verdict = { allow: true, user: string, until?: number } | { allow: false }

const answerSchema = z.union([
  z.object({ allow: z.literal(true), user: z.string().nullish(), expiresAt: z.number().min(0).max(Number.MAX_SAFE_INTEGER).nullish() }),
  z.object({ allow: z.literal(false) })
])

/** `now`: milliseconds since the epoch. The signature is of the time and the body, so that nobody can send an old question again. */
export function requestOf (url: string, question: Question, secret: Uint8Array, now: number): OutgoingRequest {
  const body = Buffer.from(JSON.stringify(question))
  const timestamp = String(Math.floor(now / 1000))
  const signature = createHmac('sha256', secret).update(`${timestamp}.`).update(body).digest('hex')
  return {
    url,
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'application/json', 'sabethes-timestamp': timestamp, 'sabethes-signature': `v1=${signature}` },
    body
  }
}

/** 401 and 403 are a no without a body. Throws when it is no answer: the account system is taken to be down. */
export function verdictOf ({ status, body }: OutgoingAnswer, { user: asked }: Question): Verdict {
  if (status === 401 || status === 403) return { allow: false }
  if (status !== 200) throw new Error(`it was answered with ${status}`)
  const answer = answerSchema.safeParse(parsed(body))
  if (!answer.success) throw new Error('the answer is none: {"allow":true} or {"allow":false}')
  if (!answer.data.allow) return { allow: false }
  const { expiresAt, user = asked } = answer.data
  const uid = user ?? asked
  if (uid === null || !isId(uid)) throw new Error('the answer says no user id, and the user name is none')
  return { allow: true, user: uid, ...typeof expiresAt === 'number' && { until: expiresAt } }
}

function parsed (body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'))
  } catch (error) {
    throw new Error('the answer is no JSON', { cause: error })
  }
}
