/**
 * Which server has which session: one row of Redis for each connection, `{server} {openedAt} {epoch}`. It goes with the connection; what a server that is
 * gone has left counts for nothing, and ends by itself. One key a command, so each runs on any shard.
 */
import type { Holder, Seat } from '../link/remote.ts'
import type { RedisClient } from './redis.ts'

/** Of a row that nobody renews, seconds. */
const outliveSeconds = 86_400

/** Puts the row, unless another server that is there has one that is later: `ARGV` = own row, own server, own time, live servers between spaces, seconds. */
const keepScript = `
local row = redis.call('GET', KEYS[1])
if row and row ~= ARGV[1] then
  local node, at = string.match(row, '^(%S+) (%d+) ')
  if node and node ~= ARGV[2] and string.find(ARGV[4], ' ' .. node .. ' ', 1, true) then
    if tonumber(at) > tonumber(ARGV[3]) or (at == ARGV[3] and node > ARGV[2]) then return { 0, row } end
    redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[5])
    return { 1, row }
  end
end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[5])
return { 1, '' }`

const leaveScript = `
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0`

type Named = Required<Pick<Holder, 'node' | 'epoch'>>

export interface ClaimsOptions {
  redis: RedisClient
  namespace: string
  /** This server. */
  self: string
  /** Servers that are there. */
  live: () => Iterable<string>
}

/** Each rejects when Redis does not answer. */
export class Claims {
  readonly #options: ClaimsOptions

  constructor (options: ClaimsOptions) { this.#options = options }

  /** Takes the session; resolves to who had it, whether that is there or not. */
  async take (seat: Seat): Promise<Named | undefined> {
    const row = await this.#options.redis.set(this.#key(seat), this.#row(seat), 'EX', outliveSeconds, 'GET')
    return row === null ? undefined : holderOf(row)
  }

  /** Takes it again, unless another server that is there has it since later: then `mine` is false. `holder`: another one that is there. */
  async keep (seat: Seat): Promise<{ mine: boolean, holder?: Holder }> {
    const { redis, self, live } = this.#options
    const [mine, row] = await redis.eval(keepScript, 1, this.#key(seat), this.#row(seat), self, timeOf(seat), ` ${[...live()].join(' ')} `, outliveSeconds) as [number, string]
    const holder = row === '' ? undefined : holderOf(row)
    return { mine: mine === 1, ...holder !== undefined && { holder } }
  }

  /** The connection has ended: its row goes if it is still this one's. */
  async leave (seat: Seat): Promise<void> { await this.#options.redis.eval(leaveScript, 1, this.#key(seat), this.#row(seat)) }

  #key ({ session }: Seat): string { return `${this.#options.namespace}:at:${session}` }
  #row (seat: Seat): string { return `${this.#options.self} ${timeOf(seat)} ${seat.epoch}` }
}

function timeOf ({ openedAt }: Seat): string { return String(Math.max(0, Math.trunc(openedAt))) }

function holderOf (row: string): Named | undefined {
  const [node, , epoch] = row.split(' ')
  return node === undefined || epoch === undefined ? undefined : { node, epoch }
}
