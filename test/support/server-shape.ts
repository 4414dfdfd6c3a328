/** A server process of a test, and what it is started with. */
import type { Database } from './store-choice.ts'

export interface ServerOptions {
  /** The configuration file's content; flags for ports and data folder are added, and the store of `SABETHES_TEST_STORE` unless it has a `store.driver`. */
  config?: Record<string, unknown>
  /** Data folder; a fresh one by default. */
  data?: string
  /** More flags for `serve`. */
  args?: string[]
  env?: Record<string, string>
  /** The server's program, asked for at each start; default: this build's. */
  main?: () => string
  /** A program that runs the server: `['strace', '-f', …]`. */
  wrapper?: string[]
  /** Where it listens; free ports by default. */
  ports?: { mqtt: number, http: number }
}

export interface Server {
  /** Process id (of the wrapper, when there is one). */
  readonly pid: number
  readonly mqttPort: number
  readonly httpPort: number
  /** `mqtt://127.0.0.1:…` */
  readonly url: string
  /** `ws://127.0.0.1:…/mqtt` */
  readonly wsUrl: string
  /** The data folder. */
  readonly data: string
  /** Where its rows are when they are not in the data folder: a database of its own, over all its starts. */
  readonly database: Database | undefined
  readonly configPath: string
  /** Everything it wrote to stdout and stderr, over all its starts. */
  logs (): string
  running (): boolean
  /** Resolves to the exit code when the process ends by itself; rejects when it does not within 10 s. */
  ended (): Promise<number | null>
  /** The exit code of its last end; `null` while it runs and after a signal. */
  exitCode (): number | null
  /** `kill -9`; resolves when the process is gone. */
  kill9 (): Promise<void>
  /** SIGTERM; rejects unless it exits with 0 within 10 s. Resolves to the milliseconds that took. */
  stop (): Promise<number>
  /** Starts it again with the same data and ports; resolves when it is ready. */
  restart (): Promise<void>
  /** Resident memory, bytes. */
  rssBytes (): number
}
