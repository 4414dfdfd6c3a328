/** Which users have sessions at this server, and which groups those read: what the directory says of it. */
import type { Engine, Output, SessionStart } from '../link/port.ts'
import { groupId } from '../topics.ts'
import { userKey, type Directory } from './directory.ts'

interface Seat { user: string, groups: Set<string> }

export class Presence {
  readonly #directory: Pick<Directory, 'enter' | 'leave'>
  readonly #seats = new Map<string, Seat>()
  readonly #users = new Map<string, Set<string>>()

  constructor (directory: Pick<Directory, 'enter' | 'leave'>) { this.#directory = directory }

  /** Users with a session here. */
  get users (): IterableIterator<string> { return this.#users.keys() }
  /** Sessions here. */
  get size (): number { return this.#seats.size }

  /** The engine as the gateway sees it: who reads is in the directory before the ends of logs are looked at. */
  around (engine: Engine): Engine {
    return {
      ...engine,
      openSession: async (start: SessionStart) => {
        await this.#enter(start.session, start.user)
        try {
          const answer = await engine.openSession(start)
          if (!answer.ok) this.#leave(start.session)
          return answer
        } catch (error) {
          this.#leave(start.session)
          throw error
        }
      },
      closeSession: async end => {
        try {
          await engine.closeSession(end)
        } finally {
          this.#leave(end.session)
        }
      },
      streams: async query => {
        const page = await engine.streams(query)
        if (query.kind !== 'group') return page
        const groups = page.streams.map(({ stream }) => stream)
        // What was committed between the look at the heads and the entry may have been sent to nobody here.
        return await this.#read(query.session, groups) ? await engine.streams(query) : page
      }
    }
  }

  /** Groups of which sessions here did not hear so far, as users have come to be members: their logs have to be looked at once they are in the directory. */
  async joined (outputs: readonly Output[]): Promise<string[]> {
    const entered: string[] = []
    await Promise.all(outputs.map(async output => {
      if (output.kind !== 'members') return
      const log = groupId(output.gid)
      const sessions = output.added.flatMap(({ user }) => [...this.#users.get(user) ?? []])
      const isNew = await Promise.all(sessions.map(session => this.#read(session, [log])))
      if (isNew.includes(true)) entered.push(log)
    }))
    return entered
  }

  async #enter (session: string, user: string): Promise<void> {
    this.#leave(session)
    this.#seats.set(session, { user, groups: new Set() })
    let sessions = this.#users.get(user)
    if (sessions === undefined) this.#users.set(user, sessions = new Set())
    sessions.add(session)
    await this.#directory.enter(userKey(user))
  }

  #leave (session: string): void {
    const seat = this.#seats.get(session)
    if (seat === undefined) return
    this.#seats.delete(session)
    const sessions = this.#users.get(seat.user)
    sessions?.delete(session)
    if (sessions?.size === 0) this.#users.delete(seat.user)
    this.#directory.leave(userKey(seat.user))
    for (const log of seat.groups) this.#directory.leave(log)
  }

  /** Resolves to whether one of them is new in the directory. */
  async #read (session: string, logs: readonly string[]): Promise<boolean> {
    const seat = this.#seats.get(session)
    if (seat === undefined) return false
    const entering: Array<Promise<void>> = []
    for (const log of logs) {
      if (seat.groups.has(log)) continue
      seat.groups.add(log)
      const entered = this.#directory.enter(log)
      if (entered !== undefined) entering.push(entered)
    }
    await Promise.all(entering)
    return entering.length > 0
  }
}
