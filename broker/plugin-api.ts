/**
 * The one file that a plugin imports. A gate decides before the commit and may refuse; a listener hears of what was
 * committed and may not. See docs/plugins/.
 */
import type { ZodType } from 'zod'
import type { Code } from './errors.ts'

export type { Code } from './errors.ts'

/** A message on its way to the commit, as gates see it. Gates must not change it. */
export interface Draft {
  readonly from: string
  /** `{user}/{clientId}` of the sending device. */
  readonly session: string
  /** `d:{a}:{b}` or `g:{gid}`. */
  readonly conv: string
  readonly to: { readonly kind: 'user' | 'group', readonly id: string }
  readonly type: string
  /** The message's body as sent: text for `text`, any JSON value for structured messages, base64 for `binary`. */
  readonly body: unknown
  readonly cid: string | undefined
  readonly sizeBytes: number
}

/** A committed message, as listeners hear of it. */
export interface Stored extends Draft { readonly id: string, readonly seq: number, readonly ts: number }

/** `undefined` lets the message pass; a refusal stops it. */
export type GateVerdict = undefined | { code: Code, reason?: string, retryAfterMs?: number }

/**
 * The message passes this gate after a wait (milliseconds, above 0, at most 60,000); then the gates behind it are asked. Nothing more is
 * read from the sender's connection meanwhile: who sends too fast is slowed, and nobody else. A gate must bound what it lets wait.
 */
export interface GateDelay { readonly delayMs: number }

/** What the server offers a plugin. */
export interface PluginContext {
  /** Logs under the plugin's name. Never log bodies. */
  readonly log: { info (fields: object, text: string): void, warn (fields: object, text: string): void }
  /** True when `receiver` blocks `sender`; a promise only when the list is not in memory. */
  blocks (receiver: string, sender: string): boolean | Promise<boolean>
  /** The time of the server, milliseconds since the epoch; tests replace it. */
  now (): number
  /** Milliseconds of a clock that only goes forward, for waits and rates: nobody sets it. */
  steady (): number
  /**
   * Absent where this server is alone. Counts a limit together with the other servers: `onSpent` hears, about a quarter of a second later or never, what keys have spent at them; what
   * this one spends is to be said to what is answered. Servers may keep to themselves what is far below the limit. One limit for each plugin.
   */
  shareLimit? (limit: { perSecond: number, burst: number }, onSpent: (key: string, tokens: number) => void): (key: string, tokens: number) => void
}

/** A running plugin. */
export interface PluginInstance {
  /** Called for each message in order, before the commit. Answer at once where possible: a promise costs latency. */
  onPublish? (draft: Draft): GateVerdict | GateDelay | Promise<GateVerdict | GateDelay>
  /** Called after the commit, in the order of each conversation. Nobody waits for a promise; a throw or a rejection is logged. */
  onStored? (message: Stored): void | Promise<void>
  /** Releases timers, sockets and files. */
  close? (): void | Promise<void>
}

export interface Plugin<Options = unknown> {
  /** kebab-case, unique. */
  readonly name: string
  /** One line for `sabethes plugin list`. */
  readonly description: string
  /** Validates the options of the configuration and gives defaults. */
  readonly options: ZodType<Options>
  /** Names of plugins that this one follows or precedes; a cycle or an unknown name stops the start. */
  readonly after?: readonly string[]
  readonly before?: readonly string[]
  /** How long `onPublish` may take, milliseconds. */
  readonly timeoutMs: number
  /** What a throw or a timeout of `onPublish` means. There is no default. */
  readonly onFailure: 'refuse' | 'pass'
  start (options: Options, context: PluginContext): PluginInstance | Promise<PluginInstance>
}

/** Gives a plugin's literal its types. */
export function definePlugin<Options> (plugin: Plugin<Options>): Plugin<Options> { return plugin }
