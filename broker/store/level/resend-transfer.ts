/** Memories of packet ids for a migration: of each packet id the one that counts. */
import type { SessionRow } from '../store.ts'
import type { TransferPage } from '../transfer.ts'
import { resendCodec } from './codec.ts'
import type { Database } from './database.ts'
import { key, parts, under } from './keys.ts'
import { decodeMemories } from './resend-runs.ts'
import type { Memory } from './resend-runs.ts'

/** Memories of a page, about; those of a session are never divided. */
const pageMemories = 1000

type Page = TransferPage<'resend'>
type Row = Page['rows'][number]

/** All memories, session by session; behind the key `at` where it is given. */
export async function * readMemories (db: Database, at?: string): AsyncGenerator<Page, void> {
  if (at === undefined || at.startsWith('d')) yield * runs(db, at)
  yield * before4(db, at?.startsWith('i') === true ? at : undefined)
}

async function * runs (db: Database, at: string | undefined): AsyncGenerator<Page, void> {
  let session: string | undefined
  let newest = new Map<number, Memory>()
  let current: string | undefined
  let rows: Row[] = []
  let last = ''
  const close = (): void => { for (const memory of newest.values()) rows.push(rowOf(session as string, memory)) }
  for await (const some of db.scan({ ...under(key.allResends()), ...(at === undefined ? {} : { gt: at }) })) {
    for (const [name, text] of some) {
      const [, owner = ''] = parts(name)
      if (owner !== session) {
        close()
        if (rows.length >= pageMemories) {
          yield { rows, at: last }
          rows = []
        }
        session = owner
        newest = new Map()
        current = await lastConnection(db, owner)
      }
      for (const memory of decodeMemories(text)) keepNewer(newest, memory, current)
      last = name
    }
  }
  close()
  if (rows.length > 0) yield { rows, at: last }
}

/** Rows of before format 4, where nothing newer is remembered. */
async function * before4 (db: Database, at: string | undefined): AsyncGenerator<Page, void> {
  for await (const some of db.scan({ ...under(key.oldResends()), ...(at === undefined ? {} : { gt: at }) })) {
    const rows: Row[] = []
    const newer = new Map<string, Set<number>>()
    for (const [name, text] of some) {
      const [, session = '', packetId = ''] = parts(name)
      let known = newer.get(session)
      if (known === undefined) {
        const memories = (await db.rows(under(key.resendsOf(session)))).flatMap(([, run]) => decodeMemories(run))
        newer.set(session, known = new Set(memories.map(memory => memory.packetId)))
      }
      if (!known.has(Number(packetId))) rows.push({ session, packetId: Number(packetId), ...resendCodec.decode(text, name) })
    }
    yield { rows, at: (some.at(-1) as [string, string])[0] }
  }
}

/** The name of the session's last connection. */
async function lastConnection (db: Database, session: string): Promise<string | undefined> {
  const text = await db.get(key.session(session))
  return text === undefined ? undefined : (JSON.parse(text) as SessionRow).connection?.epoch
}

/**
 * Numbers tell within a connection. Between connections the last one tells: what was sent again on it has the time of its first try. Of others
 * nothing is joined any more.
 */
function keepNewer (newest: Map<number, Memory>, memory: Memory, current: string | undefined): void {
  const known = newest.get(memory.packetId)
  const older = known !== undefined && (known.epoch === memory.epoch
    ? (memory.number ?? 0) < (known.number ?? 0)
    : known.epoch === current || (memory.epoch !== current && memory.ts < known.ts))
  if (!older) newest.set(memory.packetId, memory)
}

function rowOf (session: string, { packetId, ...row }: Memory): Row { return { session, packetId, ...row } }
