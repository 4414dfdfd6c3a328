/** What plugins hand the server is theirs: reading it may throw. Here it is read once, with care. */

/** An error as logs show it (the serializer of `err` leaves plain objects as they are). */
export interface Fault { readonly type: string, readonly message: string, readonly stack?: string }

const maxMessageLength = 1_000
const maxStackLength = 4_000

/** Describes anything that was thrown. Never throws, whatever its getters do. */
export function describeFault (error: unknown): Fault {
  try {
    if (!(error instanceof Error)) return { type: typeof error, message: String(error).slice(0, maxMessageLength) }
    const { name, message, stack } = error
    return {
      type: String(name),
      message: String(message).slice(0, maxMessageLength),
      ...(typeof stack === 'string' && { stack: stack.slice(0, maxStackLength) })
    }
  } catch {
    return { type: typeof error, message: 'something that cannot be shown was thrown' }
  }
}

/** The value as a promise when it is a thenable; one whose `then` throws rejects. `undefined` for all other values. Never throws. */
export function promised (value: unknown): Promise<unknown> | undefined {
  if (value === undefined || value === null || (typeof value !== 'object' && typeof value !== 'function')) return undefined
  try {
    if (typeof (value as { then?: unknown }).then !== 'function') return undefined
    // A class that extends Promise is asked for `then` as any thenable is, behind the same try.
    return new Promise((resolve, reject) => { Promise.resolve(value).then(resolve, reject) })
  } catch (error) {
    return Promise.reject(error)
  }
}
