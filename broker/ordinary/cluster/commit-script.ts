/** One batch of writes as one script of Redis: it is written when what it goes by is still so, else nothing of it. */
import type { SubscriptionLike } from '../persistence-subscriptions.ts'

export type Argument = string | number | Buffer
export type Command = [name: string, ...args: Argument[]]

/** An entry of the change log. */
export type Change =
  | { kind: 'subscribed', session: string, subscriptions: SubscriptionLike[] }
  | { kind: 'unsubscribed', session: string, filters: string[] }
  /** Something is stored for it. */
  | { kind: 'kept', session: string }
  | { kind: 'ended', session: string }
  /** Bytes of the payload, none: it is gone; `expires`: milliseconds since the epoch, 0: never. */
  | { kind: 'retained', topic: string, bytes: number, expires: number }

/** Names of its keys; a prefix is the connection's. */
export const logKey = 'log'
export const numberKey = 'log:number'

/** `done`: also when it had been before. `stale`: subscriptions have changed since, read the rows. `held`: another server is to have its turn first. */
export type Answer = [status: 'done' | 'stale' | 'held', rows: unknown, number: number, /** by turns a queue that is too long, and by how much */ long: Array<string | number>]

export interface Batch {
  commands: readonly Command[]
  /** The key that is there when it was done. */
  done: string
  /** Who writes it. */
  writer: string
  /** Number of the last entry of the change log that is known. */
  since: number
  /** It goes by the subscriptions as they were then. */
  reads: boolean
  /** It changes some. */
  changes: boolean
  /** Messages that a queue may have. */
  maxQueued: number
  /** When it is stale, milliseconds in which nobody else changes subscriptions, so that the next try does it. */
  holdMs: number
}

/** Seconds for which a batch is known to be done. */
const doneSeconds = 300
/** Entries of the change log that are kept, about. Who misses more reads all anew. */
const kept = 10_000

/**
 * KEYS[1] is the log, with the prefix of all keys. A command is the count of its words and the words, each behind its length. What writes is one of the
 * commands below, or `append`: an entry of the change log, with a mark when it changes nobody's subscriptions.
 */
const script = `
local log, prefix = KEYS[1], string.sub(KEYS[1], 1, -${logKey.length + 1})
local batch, done, writer, since, reads, changes, most, hold = ARGV[1], prefix .. ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5], ARGV[6], tonumber(ARGV[7]), tonumber(ARGV[8])
local number, holder = prefix .. '${numberKey}', prefix .. 'log:holder'
local rows = redis.call('XRANGE', log, '(' .. since .. '-1', '+')
local function answer (status, long)
  return { status, rows, tonumber(redis.call('GET', number) or 0), long or {} }
end
if #batch > 0 and redis.call('EXISTS', done) == 1 then return answer('done') end
if reads == '1' then
  local stale = #rows > 0 and tonumber(string.match(rows[1][1], '%d+')) ~= since + 1
  for _, row in ipairs(rows) do stale = stale or #row[2] == 2 end
  if stale then
    if hold > 0 then redis.pcall('SET', holder, writer, 'PX', hold, 'NX') end
    return answer('stale')
  end
end
local held = (reads == '1' or changes == '1') and redis.call('GET', holder)
if changes == '1' and held and held ~= writer then return answer('held') end
local long, at, appended = {}, 1, false
while at <= #batch do
  local count, words = 0, {}
  count, at = struct.unpack('>I4', batch, at)
  for i = 1, count do words[i], at = struct.unpack('>I4c0', batch, at) end
  if words[1] == 'append' then
    appended = true
    local n = redis.call('INCR', number)
    redis.call('XADD', log, 'MAXLEN', '~', ${kept}, n .. '-1', 'c', unpack(words, 2))
  else
    local step = words[1] == 'mset' and 2 or words[1] == 'del' and 1 or count
    for i = 2, count, step do words[i] = prefix .. words[i] end
    local result = redis.call(unpack(words))
    if words[1] == 'rpush' and result > most then
      long[#long + 1] = string.sub(words[2], #prefix + 1)
      long[#long + 1] = result - most
    end
  end
end
if #batch > 0 then redis.call('SET', done, 1, 'EX', ${doneSeconds}) end
if held == writer then redis.call('DEL', holder) end
if appended then rows = redis.call('XRANGE', log, '(' .. since .. '-1', '+') end
return answer('done', long)`

/** The command that does it; its answer is an `Answer`. */
export function asCommand ({ commands, done, writer, since, reads, changes, maxQueued, holdMs }: Batch): [script: string, keys: 1, key: string, ...args: Argument[]] {
  return [script, 1, logKey, encode(commands), done, writer, since, Number(reads), Number(changes), maxQueued, holdMs]
}

function encode (commands: readonly Command[]): Buffer {
  let size = 0
  for (const command of commands) for (const word of command) size += 4 + lengthOf(word)
  const batch = Buffer.allocUnsafe(size + 4 * commands.length)
  let at = 0
  for (const command of commands) {
    at = batch.writeUInt32BE(command.length, at)
    for (const word of command) {
      at = batch.writeUInt32BE(lengthOf(word), at)
      at += typeof word === 'object' ? word.copy(batch, at) : batch.write(String(word), at)
    }
  }
  return batch
}

function lengthOf (word: Argument): number { return typeof word === 'object' ? word.length : Buffer.byteLength(String(word)) }
