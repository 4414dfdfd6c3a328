/**
 * Memories of the last publish of each packet id (ADR 4). What a session sent in one commit is one row where its packet ids follow each other,
 * and its key names the last of them: the rows that may hold a packet id are those from it on, a few numbers long. A newer
 * memory lies beside older ones, which the purge removes: what is current, the connection and the number in it tell. Where a packet id that ended a run ends
 * one again, the new row takes the place of the old one. A packet id that is used anew was answered, and so was all that came before it in that
 * commit; what is sent again with DUP was read before, and the rest of its old row goes over into the new one.
 *
 * In stores of before format 4 each packet id has a row `i session packetId`.
 */
import { repeats } from '../resend.ts'
import type { NewMessage, Resend } from '../store.ts'
import type { Batch } from './batch.ts'
import { resendCodec } from './codec.ts'
import type { ResendRow } from './codec.ts'
import type { Database } from './database.ts'
import { key, lastNumber, parts } from './keys.ts'

/** How far the packet ids of one row may lie apart. */
export const maxSpan = 32

const betweenEntries = '\x01'
const betweenFields = '\x00'
/** In the place of a connection where the memory before has one. */
const noEpoch = '\x02'

/** A memory and its packet id. */
export interface Memory extends ResendRow { packetId: number }

/** The memories of a run, in the order of their packet ids: what an entry shares with the one before is not said again. */
export function encodeMemories (memories: readonly Memory[]): string {
  let text = ''
  let before: Memory | undefined
  for (const memory of memories) {
    const { packetId, number, epoch, seq, n, ts, id, conv, digest } = memory
    if (before !== undefined) text += betweenEntries
    text += `${packetId}\x00${number ?? ''}\x00${seq}\x00${n}\x00${id}\x00${digest}\x00${before?.ts === ts ? '' : ts}\x00${before?.conv === conv ? '' : conv}\x00` +
      `${before?.epoch === epoch ? '' : epoch ?? noEpoch}`
    before = memory
  }
  return text
}

export function decodeMemories (text: string): Memory[] {
  const memories: Memory[] = []
  for (const entry of text.split(betweenEntries)) {
    const [packetId, number, seq, n, id = '', digest = '', ts, conv, epoch] = entry.split(betweenFields)
    const before = memories.at(-1)
    const memory: Memory = {
      packetId: Number(packetId),
      seq: Number(seq),
      n: Number(n),
      ts: ts === '' && before !== undefined ? before.ts : Number(ts),
      id,
      conv: conv === '' && before !== undefined ? before.conv : conv ?? '',
      digest
    }
    const known = epoch === '' ? before?.epoch : epoch === noEpoch ? undefined : epoch
    if (known !== undefined) memory.epoch = known
    if (number !== '') memory.number = Number(number)
    memories.push(memory)
  }
  return memories
}

/** True when a run has a memory of the packet id. */
function holds (text: string, packetId: number): boolean {
  const start = packetId + betweenFields
  return text.startsWith(start) || text.includes(betweenEntries + start)
}

/** What one commit reads and writes of memories. */
export class Resends {
  readonly #windowMs: number
  readonly #wanted = new Map<string, Set<number>>()
  /** Rows of sessions of which something is asked for: what was read, and what is written here. */
  readonly #rows = new Map<string, string>()
  /** By session and packet id. */
  readonly #found = new Map<string, Map<number, Memory[]>>()
  readonly #fresh = new Map<string, Memory[]>()

  constructor (windowMs: number) { this.#windowMs = windowMs }

  /** Asks for what is remembered of the packet id, for a publish with DUP. */
  want ({ session, packetId }: Resend): void {
    const wanted = this.#wanted.get(session)
    if (wanted === undefined) this.#wanted.set(session, new Set([packetId]))
    else wanted.add(packetId)
  }

  async load (db: Database): Promise<void> {
    if (this.#wanted.size === 0) return
    await Promise.all([...this.#wanted].map(async ([session, wanted]) => {
      const ids = [...wanted].sort((a, b) => a - b)
      const legacy = ids.map(id => key.resend(session, id))
      const [texts] = await Promise.all([db.getMany(legacy), ...stretches(ids).map(stretch => this.#loadRuns(db, session, stretch, wanted))])
      texts.forEach((text, i) => {
        const name = legacy[i] as string
        if (text !== undefined) this.#keep(session, { packetId: Number(parts(name)[2]), ...resendCodec.decode(text, name) })
      })
    }))
  }

  /** The rows that may have memories of packet ids from the one to the other. */
  async #loadRuns (db: Database, session: string, [from, to]: Stretch, wanted: ReadonlySet<number>): Promise<void> {
    for (const [name, text] of await db.rows({ gt: key.resends(session, from - 1), lt: key.resends(session, to + maxSpan) })) {
      this.#rows.set(name, text)
      const last = lastNumber(name)
      for (let id = last - maxSpan + 1; id <= last; id++) {
        if (!wanted.has(id) || !holds(text, id)) continue
        for (const memory of decodeMemories(text)) this.#keep(session, memory)
        break
      }
    }
  }

  /** The first try of `op`, if it repeats one. */
  first (op: NewMessage): ResendRow | undefined {
    const { resend } = op
    if (resend?.dup !== true) return undefined
    let current: Memory | undefined
    for (const memory of this.#found.get(resend.session)?.get(resend.packetId) ?? []) {
      if (rank(memory, resend) > rank(current, resend) || (memory.epoch === current?.epoch && (memory.number ?? 0) >= (current?.number ?? 0))) current = memory
    }
    if (current === undefined) return undefined
    const { conv, digest, ts, epoch, number } = current
    return repeats(op, { conv, digest, ts, epoch, number }, this.#windowMs) ? current : undefined
  }

  /** Remembers a publish. */
  remember ({ session, packetId }: Resend, row: ResendRow): void {
    const memory: Memory = { packetId, ...row }
    // Only what is asked for with DUP in this same commit is looked up again.
    if (this.#wanted.has(session)) this.#keep(session, memory)
    const fresh = this.#fresh.get(session)
    if (fresh === undefined) this.#fresh.set(session, [memory])
    else fresh.push(memory)
  }

  /** Writes what was remembered. */
  put (batch: Batch): void {
    for (const [session, memories] of this.#fresh) {
      for (let from = 0, to = 1; from < memories.length; from = to++) {
        const first = (memories[from] as Memory).packetId
        while (to < memories.length && follows(first, memories[to - 1] as Memory, memories[to] as Memory)) to++
        this.#putRun(batch, session, from === 0 && to === memories.length ? memories : memories.slice(from, to))
      }
    }
  }

  #putRun (batch: Batch, session: string, run: readonly Memory[]): void {
    const name = key.resends(session, (run.at(-1) as Memory).packetId)
    const before = this.#rows.get(name)
    const text = encodeMemories(before === undefined ? run : withRest(decodeMemories(before), run))
    if (this.#wanted.has(session)) this.#rows.set(name, text)
    batch.put(name, text)
  }

  #keep (session: string, memory: Memory): void {
    let known = this.#found.get(session)
    if (known === undefined) this.#found.set(session, known = new Map())
    const memories = known.get(memory.packetId)
    if (memories === undefined) known.set(memory.packetId, [memory])
    else memories.push(memory)
  }
}

/** The present connection's memory counts before that of the one before it, and so on; that of a connection that is not asked for counts not at all. */
function rank (memory: Memory | undefined, { epoch, last, earlier = [] }: Resend): number {
  if (memory?.epoch === undefined) return 0
  const connections = [epoch, last?.epoch, ...earlier.map(mark => mark.epoch)]
  const at = connections.indexOf(memory.epoch)
  return at < 0 ? 0 : connections.length - at
}

/** A run in the place of another one: what that has of other packet ids stays. */
function withRest (before: readonly Memory[], run: readonly Memory[]): Memory[] {
  const fresh = new Set(run.map(({ packetId }) => packetId))
  return [...before.filter(({ packetId }) => !fresh.has(packetId)), ...run].sort((a, b) => a.packetId - b.packetId)
}

type Stretch = [from: number, to: number]

/** Packet ids that lie together are looked for together: those of a session that has begun again with 1 lie at both ends. */
function stretches (ids: readonly number[]): Stretch[] {
  const found: Stretch[] = []
  for (const id of ids) {
    const last = found.at(-1)
    if (last !== undefined && id - last[1] <= maxSpan) last[1] = id
    else found.push([id, id])
  }
  return found
}

function follows (first: number, before: Memory, memory: Memory): boolean {
  return memory.packetId > before.packetId && memory.packetId - first < maxSpan
}
