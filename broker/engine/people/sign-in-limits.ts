/**
 * How failed sign-ins slow further ones. Nobody can lock an account, or an address, for others:
 * - one account from one address backs off: this is who mistypes, and who guesses from one place;
 * - an account that strangers guess from many addresses is slow for addresses that failed before and never signed in to it.
 *   An address's first try always comes through, so its owner gets in from a new place;
 * - an address that fails with many accounts (a proxy, or somebody who tries one password everywhere) is slow for accounts
 *   that never signed in from there.
 * Names that no account has are treated alike. All of it is kept in memory, bounded. Servers that work as one tell each other at once of each failure, and of who
 * came in at a new address or after failures.
 */
import type { SignInWord } from '../../link/limits.ts'
import type { SharedLimits } from '../shared-limits.ts'
import { Backoff, type BackoffLimits } from './backoff.ts'
import { Budget, type BudgetLimits } from './budget.ts'

export interface SignInLimitsOptions {
  /** One account from one address (`auth.failureLimit`). */
  pair?: BackoffLimits
  /** One account from addresses that are unknown to it (`auth.accountFailureLimit`, `auth.accountFailuresPerMinute`). */
  account?: BudgetLimits
  /** One address with accounts that are unknown to it (`auth.addressFailureLimit`, `auth.addressFailuresPerMinute`). */
  address?: BudgetLimits
  /** Accounts whose addresses are remembered; those that signed in longest ago go first. */
  maxKnownAccounts?: number
}

const maxKeys = 100_000
const defaults = {
  pair: { freeFailures: 10, firstDelayMs: 1_000, maxDelayMs: 30_000, forgetMs: 900_000, maxKeys },
  account: { burst: 100, perMinute: 6, maxKeys },
  address: { burst: 60, perMinute: 120, maxKeys },
  maxKnownAccounts: 100_000
}
/** Addresses of one account that are remembered; the oldest go first. */
const maxAddresses = 16

export class SignInLimits {
  readonly #pairs: Backoff
  readonly #accounts: Budget
  readonly #addresses: Budget
  readonly #maxKnownAccounts: number
  /** Addresses from which an account signed in; both in the order of the last time. */
  readonly #known = new Map<string, Set<string>>()

  /** Tells the other servers; absent where there are none. */
  readonly #tell: ((word: SignInWord) => void) | undefined

  constructor (options: SignInLimitsOptions, now: () => number, shared?: Pick<SharedLimits, 'shareSignIns'>) {
    const { pair, account, address, maxKnownAccounts } = { ...defaults, ...options }
    this.#pairs = new Backoff(pair, now)
    this.#accounts = new Budget(account, now)
    this.#addresses = new Budget(address, now)
    this.#maxKnownAccounts = maxKnownAccounts
    this.#tell = shared?.shareSignIns(word => { this.#hear(word) })
  }

  /** True when the account has signed in from the address since its password was set. */
  knows (account: string, address: string): boolean { return this.#known.get(account)?.has(address) === true }

  /** Milliseconds that a sign-in has to wait; 0 = none. */
  waitMs (account: string, address: string): number {
    const pair = pairOf(account, address)
    const own = this.#pairs.waitMs(pair)
    if (this.knows(account, address)) return own
    return Math.max(own, this.#pairs.failed(pair) ? this.#accounts.waitMs(account) : 0, this.#addresses.waitMs(address))
  }

  failed (account: string, address: string): void {
    const known = this.knows(account, address)
    this.#count(account, address, known)
    this.#tell?.({ signIn: 'failed', account, address, ...known && { known } })
  }

  succeeded (account: string, address: string): void {
    const isNews = this.#tell !== undefined && (!this.knows(account, address) || this.#pairs.failed(pairOf(account, address)))
    this.#remember(account, address)
    if (isNews) this.#tell?.({ signIn: 'succeeded', account, address })
  }

  /** A new password: who knew the old one is a stranger. */
  forget (account: string): void {
    this.#known.delete(account)
    this.#tell?.({ signIn: 'forgotten', account })
  }

  #hear (word: SignInWord): void {
    switch (word.signIn) {
      case 'failed': return this.#count(word.account, word.address, word.known === true || this.knows(word.account, word.address))
      case 'succeeded': return this.#remember(word.account, word.address)
      case 'forgotten': this.#known.delete(word.account)
    }
  }

  #count (account: string, address: string, known: boolean): void {
    this.#pairs.fail(pairOf(account, address))
    if (known) return
    this.#accounts.take(account)
    this.#addresses.take(address)
  }

  #remember (account: string, address: string): void {
    this.#pairs.forget(pairOf(account, address))
    const addresses = this.#known.get(account) ?? new Set()
    addresses.delete(address)
    addresses.add(address)
    this.#known.delete(account)
    this.#known.set(account, addresses)
    for (const oldest of addresses) {
      if (addresses.size <= maxAddresses) break
      addresses.delete(oldest)
    }
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= this.#maxKnownAccounts) break
      this.#known.delete(oldest)
    }
  }
}

function pairOf (account: string, address: string): string { return `${account} ${address}` }
