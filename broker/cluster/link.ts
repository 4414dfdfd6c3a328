/**
 * What servers say to each other, on a transport that may lose it. Frames of a pair of servers are numbered, and each heartbeat says how far the
 * numbers are, so that the receiver knows of everything that it has not heard: then it is told `broken`, and makes good from the database what it missed.
 */
import type { Logger } from 'pino'
import type { Registry } from './registry.ts'
import type { Transport } from './transport.ts'

/** Servers that speak another version hear nothing of each other, and make good from the database. */
const protocolVersion = 1

/** `[kind, body]` is told, `[kind, body, id]` is asked, `['=', body, id]` and `['!', reason, id]` answer; `['~', null, id]`: it is being done. */
type Item = [kind: string, body: unknown, id?: number]
interface Frame { v: number, /** sender */ f: string, /** its number; of a heartbeat the number of the last frame */ s: number, /** absent: a heartbeat */ m?: Item[] }

/** How often in `requestTimeoutMs` it is told of what takes long that it is being done; one word of it may be lost. */
const busyTimes = 3
/** So many times `requestTimeoutMs` at most who asked waits for that. */
export const mostWaits = 10
/** What can wait goes with the next frame to the same server, or after so many milliseconds (or a tenth of `requestTimeoutMs`, when that is less) in one of its own. */
const defaultMostWaitMs = 100
/** Characters of what is logged of a frame that is none. */
const maxLogged = 100

/** Undefined: whoever wrote it, it was no server of ours. */
function read (text: string): Frame | undefined {
  let frame: Partial<Frame> | null
  try {
    frame = JSON.parse(text) as Partial<Frame> | null
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
  const isFrame = typeof frame?.v === 'number' && typeof frame.f === 'string' && Number.isSafeInteger(frame.s) && (frame.m === undefined || (Array.isArray(frame.m) && frame.m.every(Array.isArray)))
  return isFrame ? frame as Frame : undefined
}

/** Of a server that was asked and did not answer: it is gone, or cut off, or too slow. */
export class PeerUnavailableError extends Error {
  override readonly name = 'PeerUnavailableError'
}

export interface LinkOptions {
  self: string
  transport: Transport
  registry: Pick<Registry, 'view' | 'onChange' | 'onBeat'>
  /** Milliseconds to wait for an answer. */
  requestTimeoutMs: number
  log: Logger
  /** Milliseconds after which what can wait goes by itself. */
  mostWaitMs?: number
  /** Milliseconds of a clock that only goes forward. */
  steady?: () => number
}

/** What was said to one server, and heard of it. */
interface Peer { sent: number, /** undefined: nothing yet */ heard: number | undefined, /** when all that was said had been heard, for the last time */ wholeAt: number, queue: Item[], /** there is something that cannot wait */ isDue: boolean }
interface Asked { node: string, /** of the steady clock */ since: number, resolve: (value: unknown) => void, reject: (error: Error) => void, timer: NodeJS.Timeout }

type Handler = (body: any, from: string) => unknown
interface Manner { takesLong?: boolean, canWait?: boolean }
interface Asking { timeoutMs?: number, canWait?: boolean }

export class Link {
  readonly #options: LinkOptions
  readonly #steady: () => number
  readonly #peers = new Map<string, Peer>()
  readonly #handlers = new Map<string, Manner & { run: Handler }>()
  /** Of what is being done for others, and takes long. */
  readonly #busy = new Set<NodeJS.Timeout>()
  readonly #broken: Array<(node: string, sinceMs: number) => void> = []
  readonly #asked = new Map<number, Asked>()
  #lastId = 0
  #flushing = false
  #later: NodeJS.Timeout | undefined
  #closed = false

  constructor (options: LinkOptions) {
    this.#options = options
    this.#steady = options.steady ?? (() => performance.now())
    const { registry, transport, self } = options
    transport.listen(self, frame => { this.#hear(frame) })
    registry.onChange((view, before) => {
      for (const node of before.nodes.keys()) if (node !== self && !view.nodes.has(node)) this.#gone(node)
    })
    registry.onBeat(() => { this.#beat() })
  }

  /** Other live servers. */
  get others (): string[] { return [...this.#options.registry.view.nodes.keys()].filter(node => node !== this.#options.self) }

  /** No other server is there. */
  get isAlone (): boolean { return this.#options.registry.view.nodes.size < 2 }

  /** When all that the others have said was heard, for the last time (of the steady clock); undefined while one of them was not heard yet. */
  get wholeAt (): number | undefined {
    let least = this.#steady()
    for (const node of this.others) {
      const peer = this.#peers.get(node)
      if (peer?.heard === undefined) return undefined
      least = Math.min(least, peer.wholeAt)
    }
    return least
  }

  /**
   * What is told under `kind` goes to `handler`; what it returns, or resolves to, answers who asked. JSON. `takesLong`: who asked is told while it is being done,
   * and waits on: a slow database is no reason to do it twice. `canWait`: so can the answer, for something else that goes there.
   */
  on (kind: string, run: Handler, manner: Manner = {}): void { this.#handlers.set(kind, { ...manner, run }) }

  /**
   * Called when something that another server has said may be lost: `sinceMs` (of the steady clock) all was heard. Also when a server is gone, of which
   * nobody knows what it said last.
   */
  onBroken (listener: (node: string, sinceMs: number) => void): void { this.#broken.push(listener) }

  /** In order with all that is told to that server. May be lost; then the server that missed it knows. */
  tell (node: string, kind: string, body: unknown, { canWait = false } = {}): void { this.#push(node, [kind, body], canWait) }

  tellAll (kind: string, body: unknown): void { for (const node of this.others) this.tell(node, kind, body) }

  /** Rejects with `PeerUnavailableError` when nothing is heard in time (of what takes long: for ten times as long at most), and with an `Error` that has the other one's words when it could not do it. */
  ask (node: string, kind: string, body: unknown, { timeoutMs = this.#options.requestTimeoutMs, canWait = false }: Asking = {}): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const id = ++this.#lastId
      const timer = setTimeout(() => { this.#fail(id, 'did not answer in time') }, timeoutMs)
      timer.unref()
      this.#asked.set(id, { node, since: this.#steady(), resolve, reject, timer })
      if (!this.#options.registry.view.nodes.has(node)) this.#fail(id, 'is not there')
      else this.#push(node, [kind, body, id], canWait)
    })
  }

  /** Something for the server could not be said: it is to know that it has missed it. */
  lost (node: string): void { this.#peer(node).sent++ }

  close (): void {
    this.#closed = true
    clearTimeout(this.#later)
    for (const timer of this.#busy) clearInterval(timer)
    this.#busy.clear()
    for (const id of [...this.#asked.keys()]) this.#fail(id, 'is not asked any more: this server stops')
  }

  #push (node: string, item: Item, canWait = false): void {
    if (this.#closed) return
    const peer = this.#peer(node)
    peer.queue.push(item)
    if (canWait) return this.#flushLater()
    peer.isDue = true
    if (this.#flushing) return
    this.#flushing = true
    setImmediate(() => {
      this.#flushing = false
      this.#flush(({ isDue }) => isDue)
    })
  }

  #flushLater (): void {
    if (this.#later !== undefined) return
    this.#later = setTimeout(() => {
      this.#later = undefined
      this.#flush()
    }, this.#options.mostWaitMs ?? Math.min(defaultMostWaitMs, this.#options.requestTimeoutMs / 10))
    this.#later.unref()
  }

  /** A queue goes as a whole: what is told later is not to overtake what waits. */
  #flush (which: (peer: Peer) => boolean = () => true): void {
    for (const [node, peer] of this.#peers) {
      if (peer.queue.length === 0 || !which(peer)) continue
      const items = peer.queue
      peer.queue = []
      peer.isDue = false
      this.#publish(node, { v: protocolVersion, f: this.#options.self, s: ++peer.sent, m: items })
    }
  }

  #publish (node: string, frame: Frame): void {
    this.#options.transport.publish(node, JSON.stringify(frame)).catch((error: unknown) => {
      this.#options.log.debug({ err: error, node }, 'a frame for another server is lost')
      for (const [kind, , id] of frame.m ?? []) if (id !== undefined && !/^[=!~]$/.test(kind)) this.#fail(id, 'cannot be reached')
    })
  }

  #beat (): void {
    if (this.#closed) return
    this.#flush()
    for (const node of this.others) this.#publish(node, { v: protocolVersion, f: this.#options.self, s: this.#peer(node).sent })
  }

  #hear (text: string): void {
    if (this.#closed) return
    const frame = read(text)
    if (frame === undefined) {
      this.#options.log.error({ text: text.slice(0, maxLogged) }, 'what came from Redis for this server is no frame of another one: it is passed over')
      return
    }
    const { v: version, f: from, s: number, m: items } = frame
    const peer = this.#peer(from)
    if (version !== protocolVersion) {
      this.#break(from, peer)
      peer.wholeAt = this.#steady()
      return
    }
    const expected = items === undefined ? number : number - 1
    const heard = peer.heard ?? 0
    // A repeat: it was taken, or is known to be missed.
    if (expected < heard) return
    if (expected > heard) this.#break(from, peer)
    peer.heard = number
    peer.wholeAt = this.#steady()
    if (items !== undefined) for (const item of items) this.#take(from, item)
  }

  #take (from: string, [kind, body, id]: Item): void {
    if (kind === '=' || kind === '!') return this.#answered(from, kind, body, id as number)
    if (kind === '~') return this.#waitOn(from, id as number)
    const handler = this.#handlers.get(kind)
    const answer = async (): Promise<unknown> => {
      if (handler === undefined) throw new Error(`knows no ${kind}`)
      return await handler.run(body, from)
    }
    const done = id !== undefined && handler?.takesLong === true ? this.#saysBusy(from, id) : (): void => {}
    answer().finally(done).then(value => {
      if (id !== undefined) this.#push(from, ['=', value, id], handler?.canWait)
    }, (error: unknown) => {
      if (id !== undefined) this.#push(from, ['!', error instanceof Error ? error.message : String(error), id])
      else this.#options.log.error({ err: error, kind, from }, 'what another server said was not taken')
    })
  }

  /** Tells who asked that it is being done, until what it returns is called. */
  #saysBusy (from: string, id: number): () => void {
    const timer = setInterval(() => { this.#push(from, ['~', null, id]) }, this.#options.requestTimeoutMs / busyTimes)
    timer.unref()
    this.#busy.add(timer)
    return () => {
      clearInterval(timer)
      this.#busy.delete(timer)
    }
  }

  #waitOn (from: string, id: number): void {
    const asked = this.#asked.get(id)
    if (asked?.node === from && this.#steady() - asked.since < mostWaits * this.#options.requestTimeoutMs) asked.timer.refresh()
  }

  #answered (from: string, kind: string, body: unknown, id: number): void {
    const asked = this.#asked.get(id)
    if (asked?.node !== from) return
    this.#asked.delete(id)
    clearTimeout(asked.timer)
    if (kind === '=') asked.resolve(body)
    else asked.reject(new Error(String(body)))
  }

  #fail (id: number, why: string): void {
    const asked = this.#asked.get(id)
    if (asked === undefined) return
    this.#asked.delete(id)
    clearTimeout(asked.timer)
    asked.reject(new PeerUnavailableError(`server ${asked.node} ${why}`))
  }

  #gone (node: string): void {
    const peer = this.#peer(node)
    for (const [id, asked] of this.#asked) if (asked.node === node) this.#fail(id, 'is gone')
    // From now on nothing is said to it: if it is there all the same, it is to know that it has missed something.
    peer.sent++
    this.#break(node, peer)
  }

  #break (node: string, peer: Peer): void {
    const since = peer.wholeAt
    for (const listener of this.#broken) listener(node, since)
  }

  #peer (node: string): Peer {
    let peer = this.#peers.get(node)
    if (peer === undefined) this.#peers.set(node, peer = { sent: 0, heard: undefined, wholeAt: this.#steady(), queue: [], isDue: false })
    return peer
  }
}
