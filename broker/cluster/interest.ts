/**
 * What other servers want to hear of, in memory: whoever enters a key of the directory goes on when the others have forgotten what they knew of it. So what is
 * remembered is what a look at Redis would say, and a message costs none.
 *
 * A server goes by its memory of another one only while that one tells it of its keys: from when it has said that it knows it, until it may have dropped it
 * from its view, which is not before the lease is over. Who does not answer is greeted again and forgets all with that, and what it wrote meanwhile is looked up (`Greetings`).
 */
import { Lru } from '../store/cache/lru.ts'
import type { Directory } from './directory.ts'
import type { Greetings } from './greetings.ts'
import type { Link } from './link.ts'
import type { Registry } from './registry.ts'

/** Keys remembered of each server; about 100 bytes each. */
const defaultMaxKeys = 50_000

export interface InterestOptions {
  directory: Pick<Directory, 'look'>
  link: Pick<Link, 'on' | 'ask' | 'tellAll' | 'onBroken' | 'others'>
  registry: Pick<Registry, 'onChange' | 'isHeld'>
  greetings: Pick<Greetings, 'isOpen' | 'told' | 'late'>
  onError: (error: unknown) => void
  /** Keys remembered of each server. */
  maxKeys?: number
  /** Milliseconds of a clock that only goes forward. */
  steady?: () => number
}

/** `forgotten` counts: what was asked before it is not remembered. */
interface Known { wants: Lru<boolean>, forgotten: number }

export class Interest {
  readonly #options: InterestOptions
  readonly #steady: () => number
  /** Of servers that tell this one of their keys. */
  readonly #known = new Map<string, Known>()

  constructor (options: InterestOptions) {
    this.#options = options
    this.#steady = options.steady ?? (() => performance.now())
    const { link, registry } = options
    link.on('entered', (keys: string[] | null, from) => {
      this.forget(from, keys)
      return true
    })
    link.on('left', (keys: string[], from) => { this.forget(from, keys) })
    link.onBroken(node => { this.forget(node) })
    registry.onChange(view => { for (const node of this.#known.keys()) if (!view.nodes.has(node)) this.#known.delete(node) })
  }

  /** A server has said that it knows this one: it tells it of what it enters. */
  trust (node: string): void {
    if (!this.#known.has(node)) this.#known.set(node, { wants: new Lru(this.#options.maxKeys ?? defaultMaxKeys), forgotten: 0 })
  }

  /** What it wants of these keys (of all: null) is asked anew. */
  forget (node: string, keys: readonly string[] | null = null): void {
    const known = this.#known.get(node)
    if (known === undefined) return
    known.forgotten++
    if (keys === null) known.wants.clear()
    else for (const key of keys) known.wants.delete(key)
  }

  /** Resolves when no other server goes by what it knew of these keys (null: of any) of this one, or is to be greeted for it. Redis has them already. Never rejects. */
  async entered (keys: readonly string[] | null, sinceMs = this.#steady()): Promise<void> {
    const { link, greetings, onError } = this.#options
    await Promise.all(link.others.map(async node => {
      const isTold = link.ask(node, 'entered', keys).then(() => true, () => false)
      if (!greetings.isOpen(node)) return greetings.told(node, sinceMs, await isTold)
      // It does not answer just now: nobody waits for it again, and what it has said to nobody until it was told is looked up.
      isTold.then(is => {
        greetings.told(node, sinceMs, is)
        if (is) greetings.late(sinceMs)
      }).catch(onError)
    }))
  }

  left (keys: readonly string[]): void { this.#options.link.tellAll('left', keys) }

  /** For each of these servers what of `keys` it wants to hear of. Rejects when it has to ask Redis, which does not answer. */
  async wanted (servers: readonly string[], keys: readonly string[]): Promise<Map<string, ReadonlySet<string>>> {
    return new Map(await Promise.all(servers.map(async (server): Promise<[string, Set<string>]> => [server, await this.#wantedBy(server, keys)])))
  }

  async #wantedBy (server: string, keys: readonly string[]): Promise<Set<string>> {
    const known = this.#options.registry.isHeld ? this.#known.get(server) : undefined
    const wanted = new Set<string>()
    const unknown: string[] = []
    for (const key of keys) {
      const wants = known?.wants.get(key)
      if (wants === undefined) unknown.push(key)
      else if (wants) wanted.add(key)
    }
    if (unknown.length > 0) for (const key of await this.#look(server, unknown, known)) wanted.add(key)
    return wanted
  }

  async #look (server: string, keys: readonly string[], known: Known | undefined): Promise<Iterable<string>> {
    const before = known?.forgotten
    const found = await this.#options.directory.look(server, keys)
    if (found === undefined) return keys
    if (known !== undefined && known.forgotten === before) for (const key of keys) known.wants.set(key, found.has(key))
    return found
  }
}
