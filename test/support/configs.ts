/** Configurations that several tests start their server with. */

/** Limits out of the way: many connections of one address, senders at full speed, large groups. */
export const wide: Record<string, unknown> = { plugins: ['block-list'] }

/** Lays `over` upon `base`, section by section. */
export function merge (base: Record<string, unknown>, over: Record<string, unknown>): Record<string, unknown> {
  const out: Record<string, unknown> = { ...base }
  for (const [key, value] of Object.entries(over)) {
    const old = out[key]
    out[key] = isSection(old) && isSection(value) ? merge(old, value) : value
  }
  return out
}

function isSection (value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
