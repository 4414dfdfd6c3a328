/** How many descriptors the system gives this process. */
import { readFileSync } from 'node:fs'

/** Open files that this process may have (RLIMIT_NOFILE); `undefined` where that cannot be read, or is unlimited. */
export function descriptorLimit (): number | undefined {
  let soft: unknown
  try {
    soft = /^Max open files\s+(\d+|unlimited)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1]
  } catch {
    // Not Linux: the diagnostic report knows too, and takes longer.
    const report = process.report?.getReport() as { userLimits?: { open_files?: { soft?: unknown } } } | undefined
    soft = report?.userLimits?.open_files?.soft
  }
  const limit = Number(soft)
  return Number.isInteger(limit) && limit > 0 ? limit : undefined
}

/**
 * The connections that fit: what `configured` says, or what the system leaves when `reserve` descriptors (half of them at
 * most) of the `limit` stay free for the store and other files.
 */
export function connectionsThatFit (configured: number, reserve: number, limit: number | undefined): number {
  if (limit === undefined) return configured
  return Math.max(1, Math.min(configured, limit - Math.min(reserve, Math.floor(limit / 2))))
}
