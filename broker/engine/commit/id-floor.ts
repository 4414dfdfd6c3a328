/** Where the ids of this process begin, so that they are greater than all before, whatever the clock says. */
import type { Records, Store, TimeMs } from '../../store/store.ts'

/** Ids of one process cannot use up this many milliseconds ahead of the time of the newest message: 1.7 million fit in one. */
const spanMs = 1_000
const recordKey = 'clock'

type IdStore = Pick<Store, 'newest'> & { records: Pick<Records, 'get' | 'write'> }

/**
 * The time in the ids of this process is greater than the result. While the clock is behind, ids go on where those of the
 * process before may have ended: that place is kept in the store, and moved with each start.
 */
export async function idFloor (store: IdStore, now: TimeMs): Promise<TimeMs> {
  const newest = Math.max(await store.newest(), await used(store))
  if (newest < now) return newest
  await write(store, newest + 2 * spanMs)
  return newest + spanMs
}

/** Times go back to below `last` while ids do not: the next process must know how far they came. */
export async function keepIdFloor (store: IdStore, last: TimeMs): Promise<void> {
  const floor = last + 2 * spanMs
  if (floor > await used(store)) await write(store, floor)
}

async function used ({ records }: IdStore): Promise<TimeMs> {
  const kept = await records.get(recordKey)
  return kept === undefined ? 0 : (JSON.parse(Buffer.from(kept).toString()) as { ids: number }).ids
}

function write ({ records }: IdStore, ids: TimeMs): Promise<void> {
  return records.write([{ key: recordKey, value: Buffer.from(JSON.stringify({ ids })) }], true)
}
