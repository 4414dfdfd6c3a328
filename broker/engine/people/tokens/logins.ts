/** The rows of logins: what one device of a user may come back with, in the store's key-value space. */
import type { Records, TimeMs } from '../../../store/store.ts'

/** A login. Of its tokens there are hashes alone. */
export interface Login {
  id: string
  user: string
  name?: string
  platform?: string
  createdAt: TimeMs
  /** When somebody last came with it, about, and from where. */
  seenAt: TimeMs
  address?: string
  /** The end of the password's hash at that time: with another password the login is over. */
  mark: string
  access: { hash: string, until: TimeMs }
  refresh: { hash: string, until: TimeMs }
  /** How often it was renewed, and when last. */
  generation: number
  renewedAt: TimeMs
}

/** A login as it was read: what it is changed from. */
export interface Found { login: Login, bytes: Uint8Array }

const keyOf = (user: string, id: string): string => `tokens/${user}/${id}`

export class Logins {
  readonly #records: Records

  constructor (records: Records) { this.#records = records }

  async find (user: string, id: string): Promise<Found | undefined> {
    const bytes = await this.#records.get(keyOf(user, id))
    return bytes === undefined ? undefined : { login: parsed(bytes), bytes }
  }

  /** All of a user, the oldest first. */
  async of (user: string): Promise<Found[]> {
    const found: Found[] = []
    // What follows '/' is '0'.
    for await (const [, bytes] of this.#records.range(`tokens/${user}/`, `tokens/${user}0`)) found.push({ login: parsed(bytes), bytes })
    return found.sort((a, b) => a.login.createdAt - b.login.createdAt)
  }

  async create (login: Login): Promise<void> { await this.#records.write([{ key: keyOf(login.user, login.id), value: bytesOf(login) }], true) }

  /** False: somebody else has changed it, and it is as it was. */
  async change ({ login, bytes }: Found, change: Partial<Login>): Promise<boolean> {
    return await this.#records.swap(keyOf(login.user, login.id), bytes, bytesOf({ ...login, ...change }))
  }

  async drop (user: string, ids: readonly string[]): Promise<void> {
    if (ids.length > 0) await this.#records.write(ids.map(id => ({ key: keyOf(user, id), value: null })), true)
  }
}

function parsed (bytes: Uint8Array): Login { return JSON.parse(Buffer.from(bytes).toString('utf8')) as Login }
function bytesOf (login: Login): Uint8Array { return Buffer.from(JSON.stringify(login)) }
