/**
 * How failed sign-ins slow further ones. Nobody can lock an account, or an address, for others:
 * - one account from one address backs off: this is who mistypes, and who guesses from one place;
 * - an account that strangers guess from many addresses is slow for addresses that failed before and never signed in to it.
 *   An address's first try always comes through, so its owner gets in from a new place;
 * - an address that fails with many accounts (a proxy, or somebody who tries one password everywhere) is slow for accounts
 *   that never signed in from there.
 * Names that no account has are treated alike. All of it is kept in memory, bounded.
 */
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

  constructor (options: SignInLimitsOptions, now: () => number) {
    const { pair, account, address, maxKnownAccounts } = { ...defaults, ...options }
    this.#pairs = new Backoff(pair, now)
    this.#accounts = new Budget(account, now)
    this.#addresses = new Budget(address, now)
    this.#maxKnownAccounts = maxKnownAccounts
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
    this.#pairs.fail(pairOf(account, address))
    if (this.knows(account, address)) return
    this.#accounts.take(account)
    this.#addresses.take(address)
  }

  succeeded (account: string, address: string): void {
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

  /** A new password: who knew the old one is a stranger. */
  forget (account: string): void { this.#known.delete(account) }
}

function pairOf (account: string, address: string): string { return `${account} ${address}` }
