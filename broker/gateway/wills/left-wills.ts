/** Wills that other servers left in a store that they share with this one: a server that is over sends none, and a session may go on here. */
import type { Logger } from 'pino'
import type { Engine } from '../../link/port.ts'
import { logFailure } from '../connection/failure.ts'
import type { KeptWill, LeftWill, WillRows } from './will-rows.ts'

export interface LeftWillsContext {
  readonly engine: Pick<Engine, 'admits'>
  readonly rows: WillRows
  /** Milliseconds since the epoch. */
  readonly now: () => number
  readonly log: Logger
  /** Sends a will, and removes its row. Never rejects. */
  readonly send: (id: string, kept: KeptWill) => Promise<void> | undefined
}

/** Milliseconds between two looks for servers that are over. */
const lookMs = 5_000
const maxUnreadable = 1_000
const mostTries = 3

export class LeftWills {
  readonly #context: LeftWillsContext
  #nextAt = 0
  #round: Promise<void> | undefined
  #closed = false
  /** Rows that the log knows of. */
  readonly #unreadable = new Set<string>()

  constructor (context: LeftWillsContext) { this.#context = context }

  /** Called every second. */
  sweep (): void {
    const { rows, now, log } = this.#context
    if (rows.shared === undefined || this.#closed || this.#round !== undefined || now() < this.#nextAt) return
    this.takeUp().catch((err: unknown) => { logFailure(log, err as Error, {}, 'the wills of servers that are over were not looked for') })
  }

  /**
   * Sends what is due of those that are over; of those that were connected the delay begins now. What is not due stays where the session's next
   * server looks for it.
   */
  takeUp (): Promise<void> {
    this.#round ??= this.#takeUp().finally(() => { this.#round = undefined })
    return this.#round
  }

  async #takeUp (): Promise<void> {
    const { rows, now, log } = this.#context
    this.#nextAt = now() + lookMs
    const unreadable = (row: string, err: Error): void => {
      if (this.#unreadable.has(row) || this.#unreadable.size >= maxUnreadable) return
      this.#unreadable.add(row)
      log.error({ row, err }, 'a will that is stored cannot be read: it is not sent, and its row stays')
    }
    for await (const left of rows.left(unreadable)) {
      if (this.#closed) return
      const dueAt = await this.#look(left)
      if (dueAt !== undefined) this.#nextAt = Math.min(this.#nextAt, dueAt)
    }
  }

  /** When to look again at what waits. */
  async #look (left: LeftWill): Promise<number | undefined> {
    const { engine, rows, now, send } = this.#context
    const { kept } = left
    if (kept.user !== '' && !(await engine.admits(kept.user))) {
      await rows.remove(left)
      return undefined
    }
    const dueAt = kept.dueAt ?? now() + kept.delaySeconds * 1000
    if (dueAt > now()) {
      if (kept.dueAt === undefined) await rows.begin(left, dueAt)
      return dueAt
    }
    const id = await rows.claim(left)
    if (id !== undefined) send(id, kept)?.catch(() => undefined)
    return undefined
  }

  /** The session is open here: `goesOn`, or an earlier one of its name is over. What has no delay is sent by the other server, or when that is over. */
  async moved (session: string, from: string, goesOn: boolean): Promise<void> {
    const { log } = this.#context
    try {
      // Its server may put down when it is due in this moment, of which the row is another one then: once.
      for (let tries = 0; tries < mostTries && await this.#missed(session, from, goesOn); tries++);
    } catch (err) {
      logFailure(log, err as Error, { session }, 'the will of a session that was at another server was not looked for')
    }
  }

  /** Resolves to whether a row was changed before it could be removed. */
  async #missed (session: string, from: string, goesOn: boolean): Promise<boolean> {
    const { rows, send } = this.#context
    let missed = false
    for await (const left of rows.ofSession(from, session)) {
      if (left.kept.delaySeconds === 0) continue
      const id = goesOn ? undefined : await rows.claim(left)
      if (id !== undefined) await send(id, left.kept)
      else if (!goesOn || !await rows.remove(left)) missed = true
    }
    return missed
  }

  async close (): Promise<void> {
    this.#closed = true
    await this.#round?.catch(() => undefined)
  }
}
