export interface SessionOptions {
  /** `{user}/{clientId}`. */
  id: string
  user: string
  /** Seconds that it outlives its connection; 0 = its cursors are not kept. */
  expirySeconds: number
  /** It was begun by an earlier connection. */
  resumed?: boolean
  /** Entries that may be sent and not acknowledged. */
  window: number
}
