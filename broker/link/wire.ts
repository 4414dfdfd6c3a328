/** What two threads say to each other: plain data, errors as values, bytes in one buffer for each message. */
import { Refusal } from '../errors.ts'
import type { Code } from '../errors.ts'
import { StoreClosedError, StoreDamagedError, StoreUnavailableError } from '../store/errors.ts'
import type { RunningPluginInfo } from './core.ts'
import type { OutputBatch, SubmissionBatch } from './batches.ts'

/** To the engine's thread. A call is answered, a cast is not. */
export type Ask =
  | { kind: 'call', id: number, name: string, args: unknown[] }
  | { kind: 'cast', name: string, args: unknown[] }
  | { kind: 'submit', batch: SubmissionBatch }

/** From the engine's thread. */
export type Tell =
  | { kind: 'ready', plugins: RunningPluginInfo[] }
  | { kind: 'answer', id: number, ok: true, value: unknown }
  | { kind: 'answer', id: number, ok: false, error: WireError }
  | { kind: 'progress', id: number, done: number, total: number | undefined }
  | { kind: 'outputs', batch: OutputBatch }
  | { kind: 'lost', error: WireError }
  | { kind: 'failed', error: WireError }

export type WireError =
  | { kind: 'refusal', message: string, code: Code, retryAfterMs: number | undefined }
  | { kind: 'closed' | 'unavailable' | 'damaged' | 'error', message: string, name: string, stack: string | undefined, code: string | undefined, /** of a PluginError */ problems: unknown }

export function toWire (error: unknown): WireError {
  if (error instanceof Refusal) return { kind: 'refusal', message: error.message, code: error.code, retryAfterMs: error.retryAfterMs }
  if (!(error instanceof Error)) return { kind: 'error', message: String(error), name: 'Error', stack: undefined, code: undefined, problems: undefined }
  const kind = error instanceof StoreClosedError ? 'closed' : error instanceof StoreUnavailableError ? 'unavailable' : error instanceof StoreDamagedError ? 'damaged' : 'error'
  const { message, name, stack } = error
  const { code, problems } = error as NodeJS.ErrnoException & { problems?: unknown }
  return { kind, message, name, stack, code: typeof code === 'string' ? code : undefined, problems }
}

/** The error as this side's own, so that `instanceof` tells what it is. */
export function fromWire (error: WireError): Error {
  if (error.kind === 'refusal') return new Refusal(error.code, error.message, error.retryAfterMs)
  const { kind, message, name, stack, code, problems } = error
  const made = kind === 'closed' ? new StoreClosedError() : kind === 'unavailable' ? new StoreUnavailableError(message) : kind === 'damaged' ? new StoreDamagedError(message) : new Error(message)
  Object.assign(made, { ...(kind === 'error' && { name }), ...(stack !== undefined && { stack }), ...(code !== undefined && { code }), ...(problems !== undefined && { problems }) })
  return made
}

/** Something that carries bytes under one of these names. */
interface Carrier { payload?: Uint8Array, answer?: Uint8Array }

/**
 * Copies with their bytes in one buffer of their own, for `postMessage(copies, [buffer])`. A clone of a view would take all of the memory that it
 * looks at: a chunk of a socket, or Node's slab of small buffers.
 */
export function packed<Item extends object> (items: readonly Item[]): { items: Item[], buffer: ArrayBuffer | undefined } {
  let length = 0
  for (const { payload, answer } of items as readonly Carrier[]) length += (payload?.length ?? 0) + (answer?.length ?? 0)
  if (length === 0) return { items: [...items], buffer: undefined }
  const bytes = new Uint8Array(length)
  let at = 0
  const moved = (view: Uint8Array): Uint8Array => {
    const from = at
    at += view.length
    bytes.set(view, from)
    return bytes.subarray(from, at)
  }
  const copies = items.map(item => {
    const { payload, answer } = item as Carrier
    if (payload !== undefined) return { ...item, payload: moved(payload) }
    return answer === undefined ? item : { ...item, answer: moved(answer) }
  })
  return { items: copies, buffer: bytes.buffer }
}
