/** What a session has to do with shares: which it is a member of, and what it was dealt. */
export interface Dealt {
  /** An entry of the session's window was acknowledged: there is room for another, and it may be one that was dealt. */
  acknowledged (stream: string, seq: number): void
  /** There is room. */
  wake (): void
  /** The session's connection is over: what it has not acknowledged is its shares' again. */
  close (): void
}
