/** What a history is made of. Topics and filters have `{root}`, `{g}` and `{u0}`, `{u1}`, … in them: each time it is played it has its own. */
export type Qos = 0 | 1 | 2

export interface Wanted { filter: string, qos: Qos, nl: boolean, rap: boolean, rh: 0 | 1 | 2 }

/** A message to be published; `alias` 0: without; `expiry` 0: none, otherwise seconds. */
export interface Outgoing { topic: string, qos: Qos, bytes: number, retain: boolean, alias: number, expiry: number }

/** `maximumPacketSize` 0: none; `keep`: the session outlives the connection; `hold`: acknowledges only when told to. */
export interface Connecting { kind: 'connect', client: number, clean: boolean, keep: boolean, receiveMaximum: number, aliasMaximum: number, maximumPacketSize: number, hold: boolean }

export type Action =
  | Connecting
  | { kind: 'cut', client: number }
  /** `end`: the session ends with it, whatever was said before. */
  | { kind: 'disconnect', client: number, end: boolean }
  /** `identifier` 0: none. */
  | { kind: 'subscribe', client: number, wanted: Wanted[], identifier: number }
  | { kind: 'unsubscribe', client: number, filters: string[] }
  /** All at once; then it waits until each is answered (`pubrec`: by its first answer alone), or for nothing. */
  | { kind: 'publish', client: number, messages: Outgoing[], until: 'done' | 'pubrec' | 'sent' }
  /** Goes on with what QoS 2 publishes were left at PUBREC. */
  | { kind: 'finish', client: number }
  | { kind: 'hold', client: number, hold: boolean }
  /** Acknowledges of what it holds back the one at `at` (modulo their number); -1: all, the last one first. */
  | { kind: 'acknowledge', client: number, at: number }
  /** Every client that is connected has an answer to what it sent last. */
  | { kind: 'settle' }

export interface History {
  seed: number
  /** The user of each client; clients of one user are its devices. */
  users: number[]
  actions: Action[]
}

/** One line an action. */
export function described ({ seed, users, actions }: History): string {
  return [`seed ${seed}, users of the clients: ${users.join(' ')}`, ...actions.map(({ kind, ...rest }, i) => `${String(i).padStart(3)} ${kind} ${JSON.stringify(rest)}`)].join('\n')
}
