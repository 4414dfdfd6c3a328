/** What the limits of servers that work as one tell each other. Plain data; it may be lost, and nobody waits for it. */

/** A sign-in at one of them; `address` as limits know it. */
export type SignInWord =
  | { signIn: 'failed', account: string, address: string, /** the account had signed in from there */ known?: true }
  | { signIn: 'succeeded', account: string, address: string }
  /** A new password, or a removal. */
  | { signIn: 'forgotten', account: string }

export type LimitWord = SignInWord | { limit: string, spent: Array<[key: string, tokens: number]> }

/** How an engine tells the others. */
export interface LimitWords {
  /** That are there, this one included. */
  readonly servers: number
  tell (words: LimitWord[]): void
}
