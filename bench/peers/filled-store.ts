/** A store with millions of messages, written through the store's contract: the server alone would take many minutes. */
import { randomBytes } from 'node:crypto'
import { copyFileSync, linkSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { extname, join } from 'node:path'
import { openLevelStore } from '../../broker/store/level/store.ts'
import type { NewMessage } from '../../broker/store/store.ts'
import { wait } from '../meter.ts'

const noiseBytes = 32 * 1024
const batchMessages = 2000
const payloadBytes = 100
/** Messages of a conversation; at least one batch goes to conversations that all differ. */
const messagesPerConversation = 250

/** How many conversations hold `stored` messages. */
export function conversationsOf (stored: number): number { return Math.max(1, Math.ceil(stored / messagesPerConversation)) }

/** Messages of conversation `index`. */
export function messagesOf (index: number, stored: number): number {
  const conversations = conversationsOf(stored)
  return Math.floor((stored - index - 1) / conversations) + 1
}

/** The two users of a conversation. Their names sort among those of `pairs` (`a7-` after `a7`), so that old and new rows lie together. */
export function usersOf (index: number): [string, string] { return [`a${index}-`, `b${index}-`] }

const full = new Map<number, Promise<string>>()

/** The folder of a store with `count` messages of 100 bytes; filled at the first call, removed when the process ends. */
export function filledStore (count: number): Promise<string> {
  let path = full.get(count)
  if (path === undefined) {
    path = fill(count)
    full.set(count, path)
  }
  return path
}

async function fill (count: number): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'sabethes-bench-full-'))
  process.once('exit', () => { rmSync(folder, { recursive: true, force: true, maxRetries: 3 }) })
  const path = join(folder, 'data')
  const conversations = conversationsOf(count)
  const store = await openLevelStore({ path, cache: { heads: conversations, members: 2 * conversations } })
  // LevelDB compresses: a repeated letter would make the store a quarter of its size.
  const noise = randomBytes(noiseBytes).toString('hex')
  const startMs = Date.now() - count
  const from = performance.now()
  process.stderr.write(`filling a store with ${count.toLocaleString('en-US')} messages in ${conversations.toLocaleString('en-US')} conversations\n`)
  // Conversations in turn, as they grow in life: rows of one lie in all tables until compaction has brought them together.
  for (let done = 0; done < count; done += batchMessages) {
    const batch: NewMessage[] = []
    for (let number = done; number < Math.min(done + batchMessages, count); number++) {
      const [a, b] = usersOf(number % conversations)
      const [ts, id] = [startMs + number, number.toString(36).padStart(20, '0')]
      const at = number * 61 % (noise.length - payloadBytes)
      const text = noise.slice(at, at + payloadBytes)
      batch.push({
        op: 'message',
        conv: `d:${a}:${b}`,
        from: a,
        id,
        ts,
        counts: true,
        marksSender: true,
        content: `"id":"${id}","from":"${a}","to":"u/${b}","ts":${ts},"type":"text","body":"${text}"`
      })
    }
    const outcomes = await store.commit(batch)
    if (outcomes.some(outcome => outcome.replay)) throw new Error('the store took a new message for a repeat')
  }
  await settled(path)
  await store.close()
  process.stderr.write(`filled in ${((performance.now() - from) / 1000).toFixed(0)} s\n`)
  return path
}

/** Resolves when LevelDB has written no table for two seconds: what the filling left to compact is not the server's to pay. */
async function settled (path: string): Promise<void> {
  const tables = () => readdirSync(path, { recursive: true }).filter(name => extname(String(name)) === '.ldb').sort().join()
  let last = tables()
  for (let calm = 0; calm < 4;) {
    await wait(500)
    const now = tables()
    calm = now === last ? calm + 1 : 0
    last = now
  }
}

/** A copy of a closed store. LevelDB never changes a table that it has written: those are linked, not copied. */
export function copyStore (from: string, to: string): void {
  mkdirSync(to, { recursive: true })
  for (const entry of readdirSync(from, { withFileTypes: true })) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)]
    if (entry.isDirectory()) copyStore(source, target)
    else if (extname(entry.name) === '.ldb') linkSync(source, target)
    else copyFileSync(source, target)
  }
}
