/** What the command line needs of `broker/server.ts`, which it loads only when a verb asks for it. */
import type { Config } from '../config/schema.ts'
import type { ControlProgress, ControlTarget, ListenAddress } from '../http/control-target.ts'

export interface RunningServer {
  /** Where it really listens (ports that were 0 are filled in). */
  addresses: { mqtt: ListenAddress, http: ListenAddress, further: Array<ListenAddress & { kind: 'mqtt' | 'mqtts' | 'http' | 'https' }> }
  /**
   * Takes what nobody caught in this process, within the event of that name; logs it. False = the server must be stopped.
   */
  stray? (kind: 'unhandledRejection' | 'uncaughtException', error: unknown): boolean
  /** Sends the clients to other servers, before `close`; resolves when they have gone, when time is up, and at once when nobody could take them. */
  drain? (): Promise<void>
  /** Resolves when an operator had it drained, and it is to end; never otherwise. */
  drained?: Promise<void>
  /** Resolves when the store failed for good and the process has to end; never otherwise. */
  failed: Promise<Error>
  /** Graceful stop: no new work, what is accepted is finished, everything closed. */
  close (): Promise<void>
}

export interface OfflineOptions {
  /** Runs the code of the configured plugins' modules (but starts none), for what they say of themselves. */
  loadModules?: boolean
}

export interface ServerModule {
  /** Rejects when anything cannot start (nothing is left open then): address in use, store locked, bad plugin. */
  startServer (config: Config): Promise<RunningServer>
  /** The store of a server that does not run. `status`, too, answers (uptime 0, no connections). */
  openOffline (config: Config, options?: OfflineOptions): Promise<ControlTarget & { close (): Promise<void> }>
  /** Copies the backup in `from` to `config.store.path`, which is absent or empty; checks that it is a backup. */
  restoreOffline (config: Config, from: string, progress: ControlProgress): Promise<void>
}
