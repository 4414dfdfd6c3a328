/** What other servers that share the store may tell this engine. */
import type { Output } from '../link/port.ts'
import type { LimitWord } from '../link/limits.ts'
import type { Notice, Released, Remote } from '../link/remote.ts'
import type { EngineHost } from './host.ts'
import type { Accounts } from './people/accounts.ts'
import type { Blocks } from './people/blocks.ts'
import type { Acceptance } from './people/contacts/acceptance.ts'
import type { Consents } from './groups/consent.ts'
import type { Groups } from './groups/groups.ts'
import type { KeepAliveAdvice } from './keep-alive-advice.ts'
import type { Seats } from './sessions/seats.ts'

export interface RemoteParts {
  readonly host: Pick<EngineHost, 'log' | 'remote' | 'sharedLimits'>
  readonly accounts: Pick<Accounts, 'forget' | 'clear' | 'loginsEnded' | 'verify'>
  readonly blocks: Pick<Blocks, 'forget' | 'clear'>
  readonly acceptance: Pick<Acceptance, 'forget' | 'clear'>
  readonly consents: Pick<Consents, 'forget' | 'clear'>
  readonly groups: Pick<Groups, 'forget' | 'clear'>
  readonly keepAlive: Pick<KeepAliveAdvice, 'reload'>
  readonly seats: Pick<Seats, 'release' | 'recheck' | 'users'>
}

export function createRemote (parts: RemoteParts): Remote { return new Told(parts) }

class Told implements Remote {
  readonly #parts: RemoteParts
  #look: Promise<void> | undefined
  #reload: Promise<void> | undefined

  constructor (parts: RemoteParts) { this.#parts = parts }

  forget (notice: Notice): void {
    const { accounts, blocks, acceptance, consents, groups } = this.#parts
    switch (notice.kind) {
      case 'group': return groups.forget(notice.gid, notice.users)
      case 'blocks': return blocks.forget(notice.user)
      case 'user':
        // With an account its block list goes.
        blocks.forget(notice.user)
        return accounts.forget(notice.user)
      case 'record': return this.#record(notice.key)
      case 'all':
        for (const cache of [accounts, blocks, acceptance, consents, groups]) cache.clear()
        this.#readAgain()
    }
  }

  #record (key: string): void {
    const { accounts, acceptance, consents } = this.#parts
    consents.forget(key)
    acceptance.forget(key)
    if (key.startsWith('people/')) accounts.clear()
    if (key.startsWith('server/')) this.#readAgain(key)
  }

  /** What is said to everybody, so not when it is asked for. */
  #readAgain (key?: string): void {
    const { keepAlive, host } = this.#parts
    // It is asked for every second while nothing is heard: one look at a time.
    if (key === undefined && this.#reload !== undefined) return
    const reload = keepAlive.reload(key).catch((error: unknown) => {
      host.log.warn({ reason: (error as Error).message }, 'the advice on keep alive that another server was given is not known here')
    }).finally(() => { if (this.#reload === reload) this.#reload = undefined })
    this.#reload = reload
  }

  release (session: string, epoch?: string): Promise<Released> { return this.#parts.seats.release(session, epoch) }

  outputs (outputs: readonly Output[]): void {
    const { host, accounts } = this.#parts
    for (const output of outputs) {
      if (output.kind !== 'kick') continue
      // Of single logins: what their connections sent before counts.
      if (output.grant !== undefined || output.spare !== undefined) {
        accounts.loginsEnded()
        continue
      }
      // Before the connections end: what they sent may wait for seconds, and is not to come after the word of the operator.
      host.remote?.cut(output.user, output.session)
      accounts.forget(output.user, output.session === undefined)
    }
  }

  limits (words: readonly LimitWord[]): void { this.#parts.host.sharedLimits?.hear(words) }

  verify (users?: Iterable<string>): Promise<void> {
    this.#look ??= this.#parts.accounts.verify(users ?? this.#parts.seats.users()).finally(() => { this.#look = undefined })
    return this.#look
  }

  recheck (): Promise<void> { return this.#parts.seats.recheck() }
}
