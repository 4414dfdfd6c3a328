import { Contested } from './connection/failure.ts'

const maxLockWaiters = 8
/** For which a connection that fights for a session waits for its refusal, milliseconds. */
const contestedPauseMs = 1000

/** One CONNECT of a session at a time. */
export class Locks {
  readonly #held = new Map<string, { tail: Promise<void>, waiters: number }>()
  readonly #pauses = new Set<() => void>()
  #closed = false

  /** Resolves to the function that lets the session's next one in. Throws `Contested` when too many wait. */
  async take (session: string): Promise<() => void> {
    const held = this.#held.get(session)
    if (held !== undefined && held.waiters >= maxLockWaiters) throw new Contested('too many connections at once for one session')
    let unlock = (): void => {}
    const mine = new Promise<void>(resolve => { unlock = resolve })
    const lock = held ?? { tail: Promise.resolve(), waiters: 0 }
    const before = lock.tail
    lock.tail = mine
    lock.waiters++
    this.#held.set(session, lock)
    await before
    return () => {
      if (--lock.waiters === 0) this.#held.delete(session)
      unlock()
    }
  }

  /** Resolves after a second, or when the server stops. */
  async pause (): Promise<void> {
    if (this.#closed) return
    await new Promise<void>(resolve => {
      const end = (): void => {
        clearTimeout(timer)
        this.#pauses.delete(end)
        resolve()
      }
      const timer = setTimeout(end, contestedPauseMs).unref()
      this.#pauses.add(end)
    })
  }

  /** Ends all pauses. */
  close (): void {
    this.#closed = true
    for (const end of this.#pauses) end()
  }
}
