/** With how many iterations a name is answered that has no keys: as if it was an account from some time. */
import type { EngineHost } from '../host.ts'
import { hmac } from './scram-keys.ts'

/** A number of iterations, and since when keys are made with it, milliseconds since the epoch. */
export interface Iterations { iterations: number, since: number }

/** Changes that are remembered; whoever would be answered with what was before is answered with the oldest. */
const maxKept = 8
/** In which a name that follows a change does, on average, milliseconds. */
const followingMs = 14 * 86_400_000
const recordKey = 'people/scram-iterations'

/** The store's numbers, oldest first; the last one is `iterations`, from now on if it was another one. */
export async function loadIterations ({ store: { records }, now }: Pick<EngineHost, 'store' | 'now'>, iterations: number): Promise<readonly Iterations[]> {
  const kept = await records.get(recordKey)
  const known = kept === undefined ? [] : JSON.parse(Buffer.from(kept).toString()) as Iterations[]
  if (known.at(-1)?.iterations === iterations) return known
  const all = [...known, { iterations, since: now() }].slice(-maxKept)
  await records.write([{ key: recordKey, value: Buffer.from(JSON.stringify(all)) }], true)
  return all
}

/**
 * The iterations of a name at `now`. Accounts keep theirs over a change until they sign in with their password, sooner or later or never; so half of the
 * names stay at each change, the others follow it at a time of their own, and none goes back: neither a number nor its change tells of an account.
 */
export function iterationsOf (uid: string, known: readonly Iterations[], secret: Buffer, now: number): number {
  return known.reduce((before, { iterations, since }, at) => {
    const draw = hmac(secret, `iterations ${since} ${uid}`)
    const stays = at > 0 && ((draw[0] as number) & 1) === 1
    const share = (draw.readUInt32BE(1) + 1) / 2 ** 32
    return stays || (at > 0 && now < since - Math.log(share) * followingMs) ? before : iterations
  }, 0)
}
