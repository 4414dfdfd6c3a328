/** Contacts and open requests as they are kept: a row of each contact for each of the two, and two of each request. */
import type { Records } from '../../../store/store.ts'

/** `since`: milliseconds since the epoch. */
export interface ContactRow { since: number, remark?: string, groups?: string[] }
export interface RequestRow { ts: number, text?: string }

type Change = Parameters<Records['write']>[0][number]

export const contactsPrefix = 'contacts/of/'
export const modesPrefix = 'contacts/mode/'
export const contactKey = (user: string, other: string): string => `${contactsPrefix}${user}/${other}`
export const modeKey = (user: string): string => `${modesPrefix}${user}`
/** A request that waits for `user`. */
export const waitingKey = (user: string, by: string): string => `contacts/to/${user}/${by}`
/** The same, with who made it. */
export const madeKey = (by: string, user: string): string => `contacts/by/${by}/${user}`

export function put (key: string, row: ContactRow | RequestRow): Change { return { key, value: Buffer.from(JSON.stringify(row)) } }
export function drop (key: string): Change { return { key, value: null } }

export class ContactRows {
  readonly #records: Records

  constructor (records: Records) { this.#records = records }

  contact (user: string, other: string): Promise<ContactRow | undefined> { return this.#get(contactKey(user, other)) }
  waiting (user: string, by: string): Promise<RequestRow | undefined> { return this.#get(waitingKey(user, by)) }
  made (by: string, user: string): Promise<RequestRow | undefined> { return this.#get(madeKey(by, user)) }

  /** On disk when it resolves. Of several rows that go and come those that come are there first. */
  async write (...changes: Change[]): Promise<void> { await this.#records.write(changes, true) }

  /** Changes a contact that is as it was read; false: it is not any more. */
  async edit (user: string, other: string, change: (row: ContactRow) => ContactRow): Promise<ContactRow | undefined> {
    for (;;) {
      const bytes = await this.#records.get(contactKey(user, other))
      if (bytes === undefined) return undefined
      const row = change(parsed<ContactRow>(bytes))
      if (await this.#records.swap(contactKey(user, other), bytes, Buffer.from(JSON.stringify(row)))) return row
    }
  }

  /** By the other's id, at most `limit`. */
  contacts (user: string, limit: number, after = ''): AsyncIterable<[other: string, row: ContactRow]> { return this.#under(`${contactsPrefix}${user}/`, limit, after) }
  waitingFor (user: string, limit: number, after = ''): AsyncIterable<[other: string, row: RequestRow]> { return this.#under(waitingKey(user, ''), limit, after) }
  madeBy (user: string, limit: number, after = ''): AsyncIterable<[other: string, row: RequestRow]> { return this.#under(madeKey(user, ''), limit, after) }

  async * #under<Row> (start: string, limit: number, after = ''): AsyncGenerator<[string, Row], void> {
    // 0 is what follows the slash.
    for await (const [key, bytes] of this.#records.range(after === '' ? start : `${start}${after}\0`, `${start.slice(0, -1)}0`, limit)) yield [key.slice(start.length), parsed<Row>(bytes)]
  }

  async #get<Row> (key: string): Promise<Row | undefined> {
    const bytes = await this.#records.get(key)
    return bytes === undefined ? undefined : parsed<Row>(bytes)
  }
}

function parsed<Row> (bytes: Uint8Array): Row { return JSON.parse(Buffer.from(bytes).toString()) as Row }

/** How many rows there are. */
export async function countOf (rows: AsyncIterable<unknown>): Promise<number> {
  let count = 0
  for await (const row of rows) count += Number(row !== undefined)
  return count
}
