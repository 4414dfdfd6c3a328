/**
 * A server that joins, or comes back, is to be known by the others before it has readers: what they write until then is said to nobody here. Each server
 * asks each one that it finds to look at the registry. What was written before the answer is made good from the database, where readers may have missed it.
 */
import type { Link } from './link.ts'
import type { Registry } from './registry.ts'
import type { View } from './view.ts'

const kind = 'hello'
/** Servers that have gone are kept in mind, should they come back. */
const maxGone = 64

export interface GreetingsOptions {
  self: string
  link: Link
  registry: Registry
  /** A server knew nothing of this one since then (of the steady clock), or not all that it wants to hear of, and does now. */
  onLate: (sinceMs: number) => void
  /** Another server knows this one, and tells it of what it enters. */
  onKnown: (node: string) => void
  /** Another server greets this one: until now it may not have told it all. */
  onGreeted: (node: string) => void
  onError: (error: unknown) => void
  /** Milliseconds after which a server that was dropped from the view here does not go by what it has in memory any more, whether it knows or not. */
  leaseMs: number
  /** Milliseconds of a clock that only goes forward. */
  steady?: () => number
}

interface Open { since: number }

export class Greetings {
  readonly #options: GreetingsOptions
  readonly #steady: () => number
  /** Servers that have not answered yet, and since when they do not know. */
  readonly #open = new Map<string, Open>()
  /** Servers that are not in the view any more: since when, and whether what they wrote afterwards was looked up. */
  readonly #gone = new Map<string, { at: number, isOver: boolean }>()

  constructor (options: GreetingsOptions) {
    this.#options = options
    this.#steady = options.steady ?? (() => performance.now())
    const { link, registry, onGreeted, onError } = options
    link.on(kind, async (_body: unknown, from: string): Promise<boolean> => {
      onGreeted(from)
      if (!registry.view.nodes.has(from)) await registry.beat()
      return registry.view.nodes.has(from)
    })
    registry.onChange((view, before) => { this.#find(view, before) })
    registry.onBeat(() => {
      this.#look()
      for (const [node, open] of this.#open) this.#greet(node, open).catch(onError)
    })
  }

  /** All that are there, or were, have heard what this server wants. */
  get isSettled (): boolean { return this.#open.size === 0 && [...this.#gone.values()].every(({ isOver }) => isOver) }

  isOpen (node: string): boolean { return this.#open.has(node) }

  /** Whether a server was told what this one wants since then. One that was not is greeted with the next heartbeat, also where an answer is under way. */
  told (node: string, sinceMs: number, isTold: boolean): void {
    if (isTold) return
    const since = Math.min(sinceMs, this.#open.get(node)?.since ?? Infinity)
    if (this.#options.registry.view.nodes.has(node)) this.#open.set(node, { since })
    else this.late(since)
  }

  /** What was said since then may not have been said to this server. */
  late (sinceMs: number): void { this.#options.onLate(sinceMs) }

  /** All that are there know this server, or were asked in vain: those are asked again with each heartbeat. */
  async settled (): Promise<void> {
    await Promise.all([...this.#open].map(([node, open]) => this.#greet(node, open)))
  }

  #find (view: View, before: View): void {
    const { self, onLate } = this.#options
    for (const node of before.nodes.keys()) if (node !== self && !view.nodes.has(node)) this.#drop(node)
    for (const node of view.nodes.keys()) {
      if (node === self || before.nodes.has(node)) continue
      // One that comes back was told nothing meanwhile.
      this.#open.set(node, { since: this.#gone.get(node)?.at ?? this.#steady() })
      this.#gone.delete(node)
    }
    for (const [node, { since }] of this.#open) {
      if (view.nodes.has(node)) continue
      this.#open.delete(node)
      onLate(since)
    }
  }

  #drop (node: string): void {
    this.#gone.set(node, { at: this.#steady(), isOver: false })
    if (this.#gone.size > maxGone) this.#gone.delete(this.#gone.keys().next().value as string)
  }

  /** A server that was dropped may have gone on for a while, and told this one only of what it wanted before. */
  #look (): void {
    const { leaseMs, onLate } = this.#options
    for (const gone of this.#gone.values()) {
      if (gone.isOver || this.#steady() - gone.at < leaseMs) continue
      gone.isOver = true
      onLate(gone.at)
    }
  }

  async #greet (node: string, open: Open): Promise<void> {
    const { link, onKnown, onLate } = this.#options
    const isKnown = await link.ask(node, kind, null).then(answer => answer === true, () => false)
    // Another one: something came to it meanwhile.
    if (!isKnown || this.#open.get(node) !== open) return
    this.#open.delete(node)
    onKnown(node)
    onLate(open.since)
  }
}
