/** What nobody caught in the process of a server: handed to the server, which says whether it can go on. */
import { describeFault } from '../engine/plugins/plugin-fault.ts'
import type { RunningServer } from './server-module.ts'
import { printable, say, type Terminal } from './terminal.ts'

/** Of `sysexits.h`: an error of the software. A supervisor should start the server again. */
export const strayExitCode = 70

export interface StrayWatch {
  /** Resolves when the server must be stopped. */
  readonly fatal: Promise<void>
  /** True from then on. */
  readonly failed: boolean
  /** From now on `server` judges. */
  use (server: RunningServer): void
  release (): void
}

/** Listens on the process (`terminal.signals`) from before the start of the server. */
export function watchStrays (terminal: Terminal): StrayWatch {
  let server: RunningServer | undefined
  let failed = false
  let end: () => void = () => {}
  const fatal = new Promise<void>(resolve => { end = resolve })
  const listeners = (['unhandledRejection', 'uncaughtException'] as const).map(kind => {
    const listener = (error: unknown): void => {
      if (server?.stray !== undefined ? server.stray(kind, error) : beforeTheServer(terminal, kind, error)) return
      failed = true
      end()
    }
    terminal.signals.on(kind, listener)
    return () => { terminal.signals.off(kind, listener) }
  })
  return {
    fatal,
    get failed () { return failed },
    use: started => { server = started },
    release: () => { for (const remove of listeners) remove() }
  }
}

/** There is no log yet. A rejection broke nothing off; after an exception nothing can be known. */
function beforeTheServer (terminal: Terminal, kind: string, error: unknown): boolean {
  const { message, stack } = describeFault(error)
  say(terminal, `sabethes: ${kind}: ${printable(stack ?? message)}`)
  return kind === 'unhandledRejection'
}
