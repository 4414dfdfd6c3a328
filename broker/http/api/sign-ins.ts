/** Who asks, as the engine says; for a short time it is remembered, as a password takes tens of milliseconds. */
import { createHmac, randomBytes } from 'node:crypto'
import { Refusal } from '../../errors.ts'
import type { Engine, SignedIn } from '../../link/port.ts'
import { network } from '../../network.ts'
import type { Credentials } from './credentials.ts'

export interface SignInsOptions {
  authenticate: Engine['authenticate']
  /** Milliseconds for which one that was right is not looked at again. */
  lifeMs: number
  /** Milliseconds of a clock that only goes forward. */
  now?: () => number
  /** Milliseconds since the epoch: what tokens end by. */
  time?: () => number
  /** Sign-ins that are remembered; the oldest go first. */
  most?: number
}

interface Known { readonly user: string, readonly place: string, readonly until: number, readonly signed: SignedIn }
/** One that is being looked at; `kicked`: users whose accounts changed meanwhile. */
interface Flight { readonly kicked: Set<string>, readonly done: Promise<void> }

export class SignIns {
  readonly #options: SignInsOptions
  readonly #now: () => number
  readonly #time: () => number
  readonly #most: number
  /** Credentials are kept as what this makes of them alone. */
  readonly #secret = randomBytes(32)
  readonly #known = new Map<string, Known>()
  /** Their names by user. */
  readonly #users = new Map<string, Set<string>>()
  readonly #flights = new Map<string, Flight>()

  constructor (options: SignInsOptions) {
    this.#options = options
    this.#now = options.now ?? (() => performance.now())
    this.#time = options.time ?? Date.now
    this.#most = options.most ?? 10_000
  }

  /** Those that are remembered. */
  get size (): number { return this.#known.size }

  /** The user whose credentials these are; `undefined`: not known now. */
  known (credentials: Credentials, address: string): string | undefined { return this.signed(credentials, address)?.user }

  /** The same, with what the engine said when it let them in. */
  signed (credentials: Credentials, address: string): SignedIn | undefined {
    const name = this.#nameOf(credentials, network(address))
    const known = this.#known.get(name)
    if (known === undefined) return undefined
    if (known.until > this.#now()) return known.signed
    this.#drop(name, known)
    return undefined
  }

  /** Resolves when `known` knows them, or might: an account that changed meanwhile is to be asked for again. Throws `Refusal`. */
  async signIn (credentials: Credentials, address: string): Promise<void> {
    const place = network(address)
    const name = this.#nameOf(credentials, place)
    // Who sends ten requests at once has one password looked at.
    const open = this.#flights.get(name)
    if (open !== undefined) return await open.done
    const kicked = new Set<string>()
    const done = this.#ask(name, place, credentials, address, kicked).finally(() => { this.#flights.delete(name) })
    this.#flights.set(name, { kicked, done })
    await done
  }

  async #ask (name: string, place: string, { user, secret }: Credentials, address: string, kicked: ReadonlySet<string>): Promise<void> {
    const answer = await this.#options.authenticate({ user, password: secret, address, protocol: 'http' })
    if (!answer.ok) {
      // What is remembered answers guesses faster than they may be made.
      if (user !== undefined) this.#forget(user, place)
      throw new Refusal(answer.code, answer.reason, answer.retryAfterMs)
    }
    const { user: found, until = Infinity } = answer.value
    const lifeMs = Math.min(this.#options.lifeMs, until - this.#time())
    if (!kicked.has(found)) this.#keep(name, { user: found, place, until: this.#now() + lifeMs, signed: answer.value })
  }

  #keep (name: string, known: Known): void {
    const before = this.#known.get(name)
    if (before !== undefined) this.#drop(name, before)
    for (const [oldest, one] of this.#known) {
      if (this.#known.size < this.#most && one.until > this.#now()) break
      this.#drop(oldest, one)
    }
    this.#known.set(name, known)
    const names = this.#users.get(known.user)
    if (names === undefined) this.#users.set(known.user, new Set([name]))
    else names.add(name)
  }

  #drop (name: string, { user }: Known): void {
    this.#known.delete(name)
    const names = this.#users.get(user)
    names?.delete(name)
    if (names?.size === 0) this.#users.delete(user)
  }

  #forget (user: string, place: string): void {
    for (const name of [...this.#users.get(user) ?? []]) {
      const known = this.#known.get(name)
      if (known?.place === place) this.#drop(name, known)
    }
  }

  /** The user's account changed: it is asked for again from now on. */
  forget (user: string): void {
    for (const { kicked } of this.#flights.values()) kicked.add(user)
    for (const name of [...this.#users.get(user) ?? []]) this.#drop(name, this.#known.get(name) as Known)
  }

  /** By the address, too: strangers are not to try passwords against what its user's sign-ins left. */
  #nameOf ({ user, secret }: Credentials, place: string): string {
    return createHmac('sha256', this.#secret).update(JSON.stringify([user ?? null, place, secret.toString('base64')])).digest('base64')
  }
}
