/** What may be the first try of a packet that comes again (ADR 4). */
import type { NewMessage } from './store.ts'

/** What is remembered of the last publish of a packet id. Rows of earlier versions have no `epoch`: they are in no doubt. */
export interface Remembered { conv: string, digest: string | undefined, ts: number, epoch: string | undefined, number: number | undefined }

/**
 * True when `op` repeats what is remembered: the same content with DUP, within the window, whose first try came on the present
 * connection or on the one before it, where the client is not known to have the answer. Anything older is another message:
 * its client had a whole connection to send it again. Connections that could not answer it do not count (`earlier` of a resend).
 */
export function repeats (op: Pick<NewMessage, 'conv' | 'ts' | 'resend'>, first: Remembered, windowMs: number): boolean {
  const { resend } = op
  if (resend?.dup !== true || resend.digest !== first.digest || op.conv !== first.conv || op.ts - first.ts >= windowMs) return false
  const { epoch, number = 0 } = first
  if (epoch === undefined) return false
  if (epoch === resend.epoch) return number > resend.proven
  const last = [resend.last, ...resend.earlier ?? []].find(mark => mark?.epoch === epoch)
  return last !== undefined && number > last.proven
}
