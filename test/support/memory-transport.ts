/** Frames between servers of one process: they can be lost, come twice, late, or not at all while two are cut apart. Those of one pair stay in order. */
import type { Transport } from '../../broker/cluster/transport.ts'

export class MemoryNetwork {
  /** Chances from 0 to 1 that a frame is lost without a word, or comes twice. */
  lose = 0
  double = 0
  /** Milliseconds that a frame takes. */
  delayMs: () => number = () => 0
  /** Nothing can be published at all, and who does hears of it. */
  isDown = false
  /** Frames that were published. */
  frames = 0
  random: () => number = Math.random
  /** Called with each frame; it is lost where this says so. */
  drops: (from: string, to: string, frame: string) => boolean = () => false
  readonly #listeners = new Map<string, (frame: string) => void>()
  readonly #tails = new Map<string, Promise<void>>()
  readonly #cut = new Set<string>()

  /** Nothing comes from either to the other. */
  cut (a: string, b: string): void { for (const pair of [`${a} ${b}`, `${b} ${a}`]) this.#cut.add(pair) }
  heal (): void { this.#cut.clear() }

  transport (self: string): Transport {
    return {
      publish: async (node, frame) => {
        if (this.isDown) throw new Error('the network is down')
        this.frames++
        if (this.#cut.has(`${self} ${node}`) || this.drops(self, node, frame) || this.random() < this.lose) return
        this.#carry(`${self} ${node}`, node, this.random() < this.double ? [frame, frame] : [frame])
      },
      listen: (_, onFrame) => { this.#listeners.set(self, onFrame) },
      ready: async () => {},
      close: () => { this.#listeners.delete(self) }
    }
  }

  /** Resolves when all that was published has come. */
  async settled (): Promise<void> { await Promise.all(this.#tails.values()) }

  #carry (pair: string, node: string, frames: string[]): void {
    const ms = this.delayMs()
    const tail = (this.#tails.get(pair) ?? Promise.resolve()).then(async () => {
      if (ms > 0) await new Promise(resolve => { setTimeout(resolve, ms) })
      else await new Promise(resolve => { setImmediate(resolve) })
      if (!this.#cut.has(pair)) for (const frame of frames) this.#listeners.get(node)?.(frame)
    })
    this.#tails.set(pair, tail)
  }
}
