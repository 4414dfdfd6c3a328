/**
 * How much of a connection's packets is served as soon as they are read. Costs are in units of about a microsecond. Whoever stays
 * within the allowance never notices it; what goes beyond it waits for its turn behind what the others have sent (broker/turns.ts).
 */

/** Saved up by a connection at rest. */
const burstUnits = 512
/** Earned in a millisecond: 8,000 small messages a second. */
const unitsPerMs = 32
/** What a connection may do at one turn when it is beyond its allowance. */
const sliceUnits = 128

/** The cheapest packet: a PINGREQ, an acknowledgement that answers nothing. */
export const packetUnits = 1
const publishUnits = 4
const bytesPerUnit = 128
/** A notice to the sender's sessions, beside the publish itself. */
export const refusalUnits = 12
const subscribeUnits = 12
/** An AUTH: a look at the account, some hashes. */
export const authUnits = 64
const filterUnits = 4

export function unitsOfPublish (bytes: number): number { return publishUnits + bytes / bytesPerUnit }
export function unitsOfFilters (filters: number): number { return subscribeUnits + filters * filterUnits }

export class Allowance {
  #left = burstUnits
  #at: number

  /** Times are milliseconds of one clock. */
  constructor (now: number) { this.#at = now }

  get spent (): boolean { return this.#left <= 0 }

  spend (units: number): void { this.#left -= units }

  /** To call when bytes arrive. */
  earn (now: number): void {
    this.#left = Math.min(burstUnits, this.#left + (now - this.#at) * unitsPerMs)
    this.#at = now
  }

  /** The connection's turn has come: what it owes is forgiven, and it may do one slice, a larger one when nobody else waits for a turn. */
  slice (now: number, alone: boolean): void {
    this.#left = alone ? burstUnits : sliceUnits
    this.#at = now
  }
}
