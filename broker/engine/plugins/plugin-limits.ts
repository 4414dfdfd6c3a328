/** The time and the room that plugins have. */

/** What all plugins are held to; each has a configuration key `pluginLimits.<name>`. */
export interface PluginLimits {
  /** Milliseconds for loading a module, and for `start`. */
  startTimeoutMs: number
  /** Milliseconds for `close`. */
  closeTimeoutMs: number
  /** Promises of one plugin's `onStored` that may be open; messages above it are not told to it. */
  listenerPending: number
}

export const defaultPluginLimits: PluginLimits = { startTimeoutMs: 30_000, closeTimeoutMs: 2_000, listenerPending: 1_000 }

/** The answer, or a rejection when it does not come in time. */
export async function within<Result> (answer: Promise<Result> | undefined, timeoutMs: number, what: string): Promise<Result | undefined> {
  if (answer === undefined) return undefined
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => { reject(new Error(`${what} did not end within ${timeoutMs} ms`)) }, timeoutMs)
  })
  try {
    return await Promise.race([answer, late])
  } finally {
    clearTimeout(timer)
  }
}
