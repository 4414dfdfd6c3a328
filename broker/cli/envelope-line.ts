/** One line for people of what a receiver gets. */
import { printable } from './terminal.ts'

export interface Envelope { from?: string, to?: string, conv?: string, seq?: number, ts?: number, type?: string, body?: unknown }

export function envelopeLine (envelope: Envelope): string {
  const { from = '?', to = '', seq, ts, type = 'text', body } = envelope
  const time = typeof ts === 'number' && Math.abs(ts) <= 8.64e15 ? new Date(ts).toISOString().slice(0, 19).replace('T', ' ') : '-'
  const text = typeof body === 'string' ? body : JSON.stringify(body) ?? ''
  return printable(`${time}  ${to} #${seq ?? '?'}  ${from}: ${type === 'text' ? '' : `(${type}) `}${text}`)
}
