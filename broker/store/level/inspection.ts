/** What `sabethes doctor` asks a store that no server has open. */
import { databasePath, formatVersion, readMarker } from './format.ts'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { openLevelStore } from './store.ts'

/** Throws what opening it throws. Makes nothing where there is no store. */
export async function inspectLevel (path: string): Promise<{ ok: boolean, text: string }> {
  if (!existsSync(join(path, 'sabethes.json')) && existsSync(join(databasePath(path), 'CURRENT'))) {
    return { ok: false, text: 'an unfinished migration: run sabethes migrate again' }
  }
  const kind = (await readMarker(path))?.kind
  if (kind === undefined || kind === 'new') return { ok: true, text: 'level: new, made at the first start' }
  const store = await openLevelStore({ path })
  try {
    await store.health()
  } finally {
    await store.close()
  }
  return { ok: true, text: `level, format version ${formatVersion}, healthy` }
}
