/** What is kept of passwords for SCRAM, beside their hashes: made when a password is at hand, renewed when it is seen again. */
import { randomBytes } from 'node:crypto'
import { Refusal } from '../../errors.ts'
import type { UserRow } from '../../store/store.ts'
import type { EngineHost } from '../host.ts'
import { alive, type AccountRows } from './account-rows.ts'
import type { Passwords } from './password-hash.ts'
import { iterationsOf, loadIterations, type Iterations } from './scram-iterations.ts'
import { decodeKeys, deriveKeys, encodeKeys, hmac, keyBytes, type ScramKeys } from './scram-keys.ts'

const saltBytes = 16
const secretKey = 'people/scram-secret'

/** What the store keeps for the answers to names. */
interface Kept { secret: Buffer, iterations: readonly Iterations[] }

export class ScramPasswords {
  /** 0 = nothing is kept. */
  readonly iterations: number
  readonly #host: EngineHost
  readonly #rows: AccountRows
  readonly #passwords: Pick<Passwords, 'work'>
  /** Accounts whose keys are to be renewed, and those that are at it. */
  readonly #due = new Set<string>()
  readonly #renewals = new Set<Promise<void>>()
  #kept: Promise<Kept> | undefined
  #closing = false

  constructor (host: EngineHost, rows: AccountRows, passwords: Pick<Passwords, 'work'>, iterations: number) {
    this.#host = host
    this.#rows = rows
    this.#passwords = passwords
    this.iterations = iterations
  }

  /** What the row of an account with this password has. Throws `Refusal` (`unavailable`) when too many wait. */
  async fields (uid: string, password: string): Promise<Pick<UserRow, 'scram'>> {
    if (this.iterations === 0) return {}
    return await this.#passwords.work(() => this.#derive(uid, Buffer.from(password)), true)
  }

  /** The keys of an account, as it was found; those of nobody's password, which look alike, for one that has none. */
  async keysOf (uid: string, found: UserRow | undefined): Promise<{ keys: ScramKeys, real: boolean }> {
    const { secret, iterations: known } = await this.#load()
    // Who was removed is not answered with what came before.
    const iterations = found?.removedAt === undefined ? iterationsOf(uid, known, secret, this.#host.now()) : this.iterations
    // Made for every name, so that it takes as long.
    const nobodys = { iterations, salt: saltOf(uid, secret), storedKey: randomBytes(keyBytes), serverKey: randomBytes(keyBytes) }
    const row = alive(found)
    const keys = row?.scram === undefined ? undefined : decodeKeys(row.scram)
    return { keys: keys ?? nobodys, real: keys !== undefined }
  }

  /** The password of an account was seen: what is missing of it, or was made with other iterations, is made now, and nobody waits for it. */
  renew (row: UserRow, password: Uint8Array): void {
    const { uid } = row
    const iterations = row.scram === undefined ? 0 : decodeKeys(row.scram)?.iterations
    if (iterations === this.iterations || this.#due.has(uid)) return
    this.#due.add(uid)
    // The password is a part of what a socket gave: the rest of that is not kept.
    const own = Buffer.from(password)
    this.#passwords.work(async () => {
      const renewal = this.#renew(row, own)
      this.#renewals.add(renewal)
      await renewal.finally(() => { this.#renewals.delete(renewal) })
    }, false).catch((error: unknown) => {
      // Too many wait: with the next sign-in there may be room.
      if (error instanceof Refusal) return
      this.#host.log.warn({ uid, reason: (error as Error).message }, 'the keys for SCRAM were not stored: they are made at the next sign-in with a password')
    }).finally(() => { this.#due.delete(uid) })
  }

  /** Another server may have changed what the store keeps for the answers to names. */
  forget (): void { this.#kept = undefined }

  /** Resolves when what was begun is stored; what waits is not begun any more. */
  async close (): Promise<void> {
    this.#closing = true
    await Promise.allSettled(this.#renewals)
  }

  async #derive (uid: string, password: Buffer): Promise<Pick<UserRow, 'scram'>> {
    if (this.iterations === 0) return {}
    return { scram: encodeKeys(await deriveKeys(await prepare(password), saltOf(uid, (await this.#load()).secret), this.iterations)) }
  }

  async #renew ({ uid, passwordHash }: UserRow, password: Buffer): Promise<void> {
    if (this.#closing) return
    const fields = await this.#derive(uid, password)
    await this.#rows.change(uid, async found => {
      const row = alive(found)
      if (row === undefined || row.passwordHash !== passwordHash) return
      const { scram, ...rest } = row
      await this.#host.store.putUser({ ...rest, ...fields })
    })
  }

  #load (): Promise<Kept> {
    if (this.#kept === undefined) {
      this.#kept = this.#read()
      this.#kept.catch(() => { this.#kept = undefined })
    }
    return this.#kept
  }

  async #read (): Promise<Kept> {
    return { secret: await this.#readSecret(), iterations: await loadIterations(this.#host, this.iterations) }
  }

  async #readSecret (): Promise<Buffer> {
    const { records } = this.#host.store
    const kept = await records.get(secretKey)
    if (kept !== undefined) return Buffer.from(kept)
    // Another server that starts on the same database may make one at the same moment: the first one counts.
    return Buffer.from(await records.create(secretKey, randomBytes(32)))
  }
}

/** Of every name the same as long as the store lives, whether there is such an account or not, and whatever its password is. */
function saltOf (uid: string, secret: Buffer): Buffer { return hmac(secret, `salt ${uid}`).subarray(0, saltBytes) }

/**
 * SASLprep (RFC 4013), as clients do it before they derive their keys. What cannot be prepared is taken as it is: bytes that are no
 * UTF-8, characters that are prohibited.
 */
async function prepare (password: Buffer): Promise<Buffer> {
  // Most are: then there is nothing to do, and no tables to load.
  if (password.every(byte => byte >= 0x20 && byte < 0x7f)) return password
  const text = password.toString('utf8')
  if (!password.equals(Buffer.from(text, 'utf8'))) return password
  const { saslprep } = await import('@mongodb-js/saslprep')
  try {
    const prepared = saslprep(text, { allowUnassigned: true })
    return prepared === '' ? password : Buffer.from(prepared, 'utf8')
  } catch (error) {
    if (error instanceof TypeError || error instanceof RangeError) throw error
    return password
  }
}
