/**
 * A server that joins, or comes back, is to be known by the others before it has readers: what they write until then is said to nobody here. Each server
 * asks each one that it finds to look at the registry. What was written before the answer is made good from the database, where readers may have missed it.
 */
import type { Link } from './link.ts'
import type { Registry } from './registry.ts'
import type { View } from './view.ts'

const kind = 'hello'

export class Greetings {
  readonly #self: string
  readonly #link: Link
  readonly #registry: Registry
  readonly #onLate: (sinceMs: number) => void
  /** Servers that have not answered yet, and since when they were found. */
  readonly #open = new Map<string, number>()

  /** `onLate`: a server knew nothing of this one since then (of the steady clock), and does now. */
  constructor (self: string, link: Link, registry: Registry, onLate: (sinceMs: number) => void, onError: (error: unknown) => void) {
    this.#self = self
    this.#link = link
    this.#registry = registry
    this.#onLate = onLate
    link.on(kind, async (_body: unknown, from: string): Promise<boolean> => {
      if (!registry.view.nodes.has(from)) await registry.beat()
      return registry.view.nodes.has(from)
    })
    registry.onChange((view, before) => { this.#find(view, before) })
    registry.onBeat(() => { for (const [node, since] of this.#open) this.#greet(node, since).catch(onError) })
  }

  /** All that are there know this server, or were asked in vain: those are asked again with each heartbeat. */
  async settled (): Promise<void> {
    await Promise.all([...this.#open].map(([node, since]) => this.#greet(node, since)))
  }

  #find (view: View, before: View): void {
    for (const node of view.nodes.keys()) if (node !== this.#self && !before.nodes.has(node)) this.#open.set(node, performance.now())
    for (const node of this.#open.keys()) if (!view.nodes.has(node)) this.#open.delete(node)
  }

  async #greet (node: string, since: number): Promise<void> {
    const isKnown = await this.#link.ask(node, kind, null).then(answer => answer === true, () => false)
    if (!isKnown || this.#open.get(node) !== since) return
    this.#open.delete(node)
    this.#onLate(since)
  }
}
