/**
 * What an engine says, brought to the servers that have somebody who is to hear it: who reads it is asked after the commit, and who begins to read
 * has said so before it looks how far a log goes. So a message is seen there, or is sent. One frame for each server and turn.
 */
import type { Logger } from 'pino'
import type { Output } from '../link/port.ts'
import { directUsers } from '../topics.ts'
import { userKey } from './directory.ts'
import type { Interest } from './interest.ts'
import type { Link } from './link.ts'
import type { Told } from './told.ts'

/** What is for one server alone: verdicts, how fast its own connections are read, what it says of itself. */
const local: ReadonlySet<Output['kind']> = new Set(['verdict', 'hold', 'intake', 'behind', 'server', 'clock'])

export interface OutboxOptions {
  link: Link
  interest: Pick<Interest, 'wanted'>
  /** What servers have told their sessions by themselves. */
  told?: Pick<Told, 'take'>
  /** Bytes that may wait for Redis; what is more is left out, and read from the database by who needs it. */
  maxBytes: number
  log: Logger
}

/** In JSON: payloads are UTF-8 text. */
type Wired = Record<string, unknown>

export class Outbox {
  readonly #options: OutboxOptions
  #waiting: Output[] = []
  #bytes = 0
  #running: Promise<void> | undefined
  /** When what is being said came (of the steady clock). */
  #since = 0

  constructor (options: OutboxOptions) { this.#options = options }

  push (outputs: readonly Output[]): void {
    const { link, maxBytes } = this.#options
    if (link.isAlone) return
    for (const output of outputs) {
      if (local.has(output.kind) || isTakeover(output)) continue
      // Nobody reads them up: they are not to push out what others read up then.
      if (output.kind === 'notice' && this.#bytes + sizeOf(output) > maxBytes / 2) continue
      this.#bytes += sizeOf(output)
      this.#waiting.push(output)
    }
    if (this.#bytes > maxBytes) this.#lose('more waits for Redis than there is room for')
    if (this.#waiting.length > 0) this.#running ??= this.#run()
  }

  /** Milliseconds since which something waits for Redis; 0: nothing does. */
  get waitingMs (): number { return this.#running === undefined ? 0 : performance.now() - this.#since }

  /** Resolves when nothing waits. */
  async settled (): Promise<void> { await this.#running }

  async #run (): Promise<void> {
    while (this.#waiting.length > 0) {
      const some = this.#waiting
      this.#waiting = []
      this.#bytes = 0
      this.#since = performance.now()
      await this.#send(some)
    }
    // In the same step as the last look: what comes from now on is sent by another run.
    this.#running = undefined
  }

  async #send (outputs: readonly Output[]): Promise<void> {
    const { link, interest, told } = this.#options
    const others = link.others
    if (others.length === 0) return
    const keys = outputs.map(readersOf)
    const asked = [...new Set(keys.flatMap(some => some ?? []))]
    let wanted: Map<string, ReadonlySet<string>>
    try {
      wanted = asked.length === 0 ? new Map() : await interest.wanted(others, asked)
    } catch (error) {
      // Of notices alone nothing is to be read up.
      if (outputs.every(({ kind }) => kind === 'notice')) return
      return this.#lose(error instanceof Error ? error.message : String(error))
    }
    const knowing = outputs.map(output => told?.take(output))
    const wired = new Map<Output, Wired>()
    for (const server of others) {
      const wants = wanted.get(server)
      const items: Wired[] = []
      for (const [i, output] of outputs.entries()) {
        if (knowing[i] === server || keys[i]?.some(key => wants?.has(key)) === false) continue
        let item = wired.get(output)
        if (item === undefined) wired.set(output, item = toWire(output))
        items.push(item)
      }
      // Events, most of them receipts, hurry nobody.
      if (items.length > 0) link.tell(server, 'outputs', items, { canWait: items.every(item => item['kind'] === 'event') })
    }
  }

  #lose (reason: string): void {
    const { link, log } = this.#options
    this.#waiting = []
    this.#bytes = 0
    for (const server of link.others) link.lost(server)
    log.debug({ reason }, 'what other servers were to hear is lost: they read it from the database')
  }
}

/** Of a connection here, whose session goes on there. */
function isTakeover (output: Output): boolean { return output.kind === 'kick' && output.code === 'taken_over' }

/** Who is to hear of it, by key of the directory; undefined: all servers. */
function readersOf (output: Output): string[] | undefined {
  switch (output.kind) {
    case 'message': return output.conv.startsWith('d:') ? directUsers(output.conv).map(userKey) : [output.conv, userKey(output.from)]
    case 'event': case 'notice': return [userKey(output.user)]
    default: return undefined
  }
}

function sizeOf (output: Output): number {
  return 200 + ('payload' in output ? output.payload.length : 0)
}

function toWire (output: Output): Wired {
  return 'payload' in output ? { ...output, payload: Buffer.from(output.payload.buffer, output.payload.byteOffset, output.payload.length).toString() } : { ...output }
}

/** An output that another server has sent. */
export function fromWire (wired: Wired): Output {
  return (typeof wired['payload'] === 'string' ? { ...wired, payload: Buffer.from(wired['payload']) } : wired) as Output
}
