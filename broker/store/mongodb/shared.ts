/** What several servers on one database tell each other of the rows that each has in memory. */
import type { SharedStore, TimeMs } from '../store.ts'
import type { EventLog } from './events.ts'
import type { GroupChanges } from './group-changes.ts'
import type { Messages } from './messages.ts'
import type { Rows } from './rows.ts'

export interface SharedParts {
  rows: Pick<Rows, 'forgetRows' | 'onForeign'>
  groups: Pick<GroupChanges, 'forgetSizes'>
  events: Pick<EventLog, 'forgetLogs' | 'onForeign'>
  messages: Pick<Messages, 'inserted'>
}

export class SharedRows implements SharedStore {
  readonly #parts: SharedParts
  readonly #listeners: Array<(rows: string[]) => void> = []
  #foreign = new Set<string>()

  constructor (parts: SharedParts) {
    this.#parts = parts
    const add = (row: string): void => { this.#add(row) }
    parts.rows.onForeign = add
    parts.events.onForeign = add
  }

  inserted (since: TimeMs): AsyncIterable<Array<{ conv: string, seq: number, from: string }>> { return this.#parts.messages.inserted(since) }

  forget (rows?: readonly string[]): void {
    const { rows: memory, groups, events } = this.#parts
    const logs = rows?.filter(row => row.startsWith('e:')).map(row => row.slice(2))
    const convs = rows?.filter(row => !row.startsWith('e:'))
    if (logs?.length !== 0) events.forgetLogs(logs)
    if (convs?.length === 0) return
    memory.forgetRows(convs)
    groups.forgetSizes(convs && new Set(convs.map(row => row.slice(row.indexOf(' ') + 1)).filter(conv => conv.startsWith('g:'))))
  }

  onForeign (listener: (rows: string[]) => void): void { this.#listeners.push(listener) }

  /** What is written in one go is told at once, before whoever waits for it goes on. */
  #add (row: string): void {
    if (this.#foreign.size === 0) queueMicrotask(() => { this.#tell() })
    this.#foreign.add(row)
  }

  #tell (): void {
    const rows = [...this.#foreign]
    this.#foreign = new Set()
    for (const listener of this.#listeners) listener(rows)
  }
}
