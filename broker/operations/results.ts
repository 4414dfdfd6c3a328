/** What results of several operations hold. They name every member: one that is not here is not answered. */
import { z } from 'zod'
import { codes } from '../errors.ts'
import type { Code } from '../errors.ts'

/** One of a list of ids; `word` stands for it in topics.md. */
export function listed (word: string): z.ZodArray<z.ZodString> { return z.array(z.string().meta({ title: word })) }

export function count (): z.ZodInt { return z.int().min(0) }
export const roles = () => z.enum(['owner', 'admin', 'member'])

/** What receivers get, see topics.md. */
export const envelope = () => z.strictObject({
  v: z.literal(1),
  conv: z.string(),
  seq: count(),
  id: z.string(),
  cid: z.string().optional(),
  from: z.string(),
  // Of a message that the disk has lost it is not known.
  to: z.string().optional(),
  ts: z.number(),
  type: z.string(),
  body: z.unknown(),
  replyTo: z.union([z.string(), z.number()]).optional(),
  mentions: z.array(z.string()).optional(),
  meta: z.record(z.string(), z.unknown()).optional()
}).meta({ title: 'envelope' })

/** What became of the users whom somebody wanted in a group. */
export const admitted = () => ({
  added: listed('user'),
  invited: listed('user'),
  refused: z.array(z.strictObject({ user: z.string(), code: z.enum(Object.keys(codes) as [Code, ...Code[]]) }))
})
