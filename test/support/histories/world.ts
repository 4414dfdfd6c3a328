/** All of one history: its messages and sessions, what went wrong, and in which order everything was. */
import type { Copy, Message, Session } from './model.ts'

export class World {
  /** Ordinary topics begin with it. */
  readonly root: string
  /** Names for the placeholders of actions. */
  readonly #names: ReadonlyMap<string, string>
  readonly messages: Message[] = []
  readonly sessions: Session[] = []
  /** Who got a message by a share, in the order of coming. */
  readonly dealt = new Map<string, Array<{ session: Session, copy: Copy }>>()
  /** Numbers of conversations, and the message at each. */
  readonly numbers = new Map<string, number>()
  readonly faults: string[] = []
  readonly log: string[] = []
  #now = 0
  #arrival: (() => void) | undefined

  constructor (root: string, names: ReadonlyMap<string, string>) {
    this.root = root
    this.#names = names
  }

  /** The time, in events; each asks once. */
  tick (): number { return ++this.#now }
  get now (): number { return this.#now }

  place (text: string): string { return text.replace(/\{(\w+)\}/g, (_, name: string) => this.#names.get(name) ?? name) }

  note (text: string): void { this.log.push(`${this.#now} ${text}`) }

  fault (text: string): void {
    this.note(`FAULT ${text}`)
    this.faults.push(text)
  }

  /** A message came to somebody. */
  arrived (): void {
    this.#arrival?.()
    this.#arrival = undefined
  }

  /** Resolves when a message comes; to false after so many milliseconds. */
  async nextArrival (ms: number): Promise<boolean> {
    return await new Promise(resolve => {
      const timer = setTimeout(() => { resolve(false) }, ms)
      this.#arrival = () => {
        clearTimeout(timer)
        resolve(true)
      }
    })
  }
}
