/**
 * Sessions that a gate lets wait. Nothing more is read from the connection of such a session until everything that it has
 * submitted is judged, so a sender above its rate is slowed by its own socket and holds little memory here.
 */
import type { Output } from '../../link/port.ts'

/** The longest that a gate may ask for, milliseconds. */
export const maxPauseMs = 60_000

interface Pause { timer: NodeJS.Timeout, end: (whole: boolean) => void }

export class Pauses {
  readonly #emit: (outputs: Output[]) => void
  readonly #running = new Map<string, Pause>()
  readonly #held = new Set<string>()
  #closed = false

  constructor (emit: (outputs: Output[]) => void) { this.#emit = emit }

  /** Resolves to true after `delayMs`, and to false when the engine ends before. One at a time of each session. */
  wait (session: string, delayMs: number): Promise<boolean> {
    if (this.#closed) return Promise.resolve(false)
    this.#held.add(session)
    // Said each time: the session may have another connection by now.
    this.#emit([{ kind: 'hold', session, held: true }])
    return new Promise(resolve => {
      const end = (whole: boolean): void => {
        this.#running.delete(session)
        resolve(whole)
      }
      this.#running.set(session, { end, timer: setTimeout(end, delayMs, true) })
    })
  }

  /** Whether the session waits, or has submitted more behind what waited. */
  isHeld (session: string): boolean { return this.#held.has(session) }

  /** Everything that the session submitted is judged. */
  over (session: string): void {
    if (this.#held.delete(session)) this.#emit([{ kind: 'hold', session, held: false }])
  }

  /** Ends all pauses. */
  close (): void {
    this.#closed = true
    for (const { timer, end } of [...this.#running.values()]) {
      clearTimeout(timer)
      end(false)
    }
  }
}

/** The engine ended while a message waited: it is not acknowledged, and the client sends it again. */
export class PauseEnded extends Error {
  constructor () {
    super('the server stops')
    this.name = 'PauseEnded'
  }
}
