/** Login tokens of password mode: made with the password, renewed by themselves, ended one by one. */
import { randomBytes } from 'node:crypto'
import { Refusal } from '../../../errors.ts'
import type { SignedIn, SignInRequest } from '../../../link/port.ts'
import type { LoginTokens, LoginView } from '../../../operations/rules.ts'
import type { UserRow } from '../../../store/store.ts'
import type { EngineHost } from '../../host.ts'
import { KeyedQueue } from '../../keyed-queue.ts'
import { alive, markOf, type AccountRows } from '../account-rows.ts'
import { Logins, type Found, type Login } from './logins.ts'
import { accessText, hashOf, isHashOf, newId, newSecret, readAccess, readRefresh, refreshText, type RefreshToken } from './token-text.ts'

export interface TokenOptions {
  /** Milliseconds. */
  accessMs: number
  refreshMs: number
  /** How long after it was renewed the refresh token before may come again: its answer was lost, milliseconds. */
  graceMs: number
  /** Logins of one user; the oldest go first. */
  maxPerUser: number
  /** Logins of one user on a platform; the oldest go first. */
  platforms: ReadonlyMap<string, number>
}

export const defaultTokens: TokenOptions = { accessMs: 900_000, refreshMs: 2_592_000_000, graceMs: 10_000, maxPerUser: 100, platforms: new Map() }

/** Seen again within it is not written, milliseconds. */
const seenMs = 600_000
/** Who signs in with a refresh token has so long to renew the login, milliseconds. */
const renewMs = 60_000
const secretKey = 'server-tokens'

export interface TokenParts {
  readonly host: EngineHost
  readonly rows: AccountRows
  readonly options: TokenOptions
  /** The account, when the password is right. Throws `Refusal`. */
  readonly prove: (user: string, password: string) => Promise<UserRow>
  /** Sets another password; `spare`: the login whose connections stay. Throws `Refusal`. */
  readonly change: (user: string, password: string, spare: string | undefined) => Promise<void>
}

export class Tokens {
  readonly #parts: TokenParts
  readonly #logins: Logins
  readonly #queue = new KeyedQueue()
  #secret: Promise<Uint8Array> | undefined
  /** Grows when logins end: who signs in meanwhile looks again. */
  #ended = 0
  /** What is written beside. */
  #writing: Promise<unknown> = Promise.resolve()

  constructor (parts: TokenParts) {
    this.#parts = parts
    this.#logins = new Logins(parts.host.store.records)
  }

  /** Undefined when it is no token. Throws `Refusal` when it is one that counts no more. */
  async authenticate ({ user: claimed, password, address }: SignInRequest): Promise<SignedIn | undefined> {
    const text = password === undefined ? '' : Buffer.from(password).toString('latin1')
    const refresh = text.startsWith('sr~') ? readRefresh(text, await this.#key()) : undefined
    const token = refresh ?? readAccess(text)
    if (token === undefined) return undefined
    if (claimed !== undefined && claimed !== token.user) throw ended()
    let found: Found | undefined
    let account: UserRow | undefined
    // A change that comes later ends the connection, which access knows of by then.
    for (let seen = -1; seen !== this.#changes;) {
      seen = this.#changes
      found = await this.#logins.find(token.user, token.id)
      account = await this.#parts.host.store.user(token.user)
    }
    const now = this.#parts.host.now()
    if (found === undefined) throw ended()
    const { login } = found
    const until = refresh === undefined ? this.#accessUntil(login, token.secret, now) : await this.#renewUntil(login, refresh, now)
    this.#parts.rows.signedIn(this.#entitled(login, account))
    this.#seen(found, now, address)
    return { user: token.user, until, grant: token.id }
  }

  /** Throws `Refusal`: `unauthorized`, `rate_limited`, `forbidden`. */
  async create (user: string, { password, name, platform }: { password: string, name?: string | undefined, platform?: string | undefined }): Promise<LoginTokens & { ended: string[] }> {
    const { host, options, prove } = this.#parts
    if (host.mode !== 'password') throw new Refusal('forbidden', 'tokens are for auth.mode password')
    const account = await prove(user, password)
    return await this.#queue.run(user, async () => {
      const over = await this.#surplus(user, platform)
      const now = host.now()
      const [access, refresh] = [newSecret(), newSecret()]
      const login: Login = {
        id: newId(),
        user,
        ...name !== undefined && { name },
        ...platform !== undefined && { platform },
        createdAt: now,
        seenAt: now,
        mark: markOf(account.passwordHash ?? ''),
        access: { hash: hashOf(access), until: now + options.accessMs },
        refresh: { hash: hashOf(refresh), until: now + options.refreshMs },
        generation: 0,
        renewedAt: now
      }
      await this.#logins.create(login)
      await this.#end(user, over, `another login${platform === undefined ? '' : ` (${platform})`} has taken its place`)
      return { ...await this.#tokensOf(login, access, refresh), ended: over }
    })
  }

  /** `caller`: who asks, where that is known. Throws `Refusal` (`unauthorized`). */
  async refresh (caller: string, text: string): Promise<LoginTokens> {
    const token = readRefresh(text, await this.#key())
    if (token === undefined || (caller !== '' && caller !== token.user)) throw ended()
    return await this.#queue.run(token.user, () => this.#renew(token))
  }

  async list (user: string): Promise<LoginView[]> {
    const now = this.#parts.host.now()
    const account = await this.#parts.host.store.user(user)
    return (await this.#logins.of(user)).filter(({ login }) => !this.#isOver(login, account, now)).map(({ login: { id, name, platform, createdAt, seenAt, address, refresh } }) => ({
      id, ...name !== undefined && { name }, ...platform !== undefined && { platform }, createdAt, seenAt, ...address !== undefined && { address }, expiresAt: refresh.until
    }))
  }

  /** Ends a login, or all but one; resolves to those that were ended. Throws `Refusal` (`not_found`). */
  async revoke (user: string, which: { id: string } | { except: string | undefined }): Promise<string[]> {
    return await this.#queue.run(user, async () => {
      if ('id' in which && await this.#logins.find(user, which.id) === undefined) throw new Refusal('not_found', 'there is no such login')
      const ids = 'id' in which ? [which.id] : (await this.#logins.of(user)).map(({ login }) => login.id).filter(id => id !== which.except)
      await this.#end(user, ids, 'signed out')
      return ids
    })
  }

  /** Ends all logins but `keep`. Throws `Refusal`: `unauthorized`, `rate_limited`, `forbidden`, `not_found`. */
  async password (user: string, { password, newPassword, keep }: { password: string, newPassword: string, keep?: string | undefined }): Promise<void> {
    const { host, prove, change } = this.#parts
    if (host.mode !== 'password') throw new Refusal('forbidden', 'passwords are kept elsewhere, or not at all')
    await prove(user, password)
    await this.#queue.run(user, async () => {
      const kept = keep === undefined ? undefined : await this.#logins.find(user, keep)
      if (keep !== undefined && kept === undefined) throw new Refusal('not_found', 'there is no such login to keep')
      await change(user, newPassword, keep)
      const account = await host.store.user(user)
      if (kept !== undefined) await this.#logins.change(kept, { mark: markOf(account?.passwordHash ?? '') })
      const now = host.now()
      const over = (await this.#logins.of(user)).filter(({ login }) => this.#isOver(login, account, now))
      await this.#logins.drop(user, over.map(({ login }) => login.id))
    })
  }

  /** The account is gone. */
  async forget (user: string): Promise<void> { await this.#logins.drop(user, (await this.#logins.of(user)).map(({ login }) => login.id)) }

  /** Another server has ended logins. */
  changed (): void { this.#ended += 1 }

  async close (): Promise<void> { await this.#writing }

  #accessUntil ({ access }: Login, secret: string, now: number): number {
    if (access.until <= now || !isHashOf(access.hash, secret)) throw ended()
    return access.until
  }

  /** A device that was away has nothing else to come with: it is let in to renew its login. */
  async #renewUntil (login: Login, token: RefreshToken, now: number): Promise<number> {
    await this.#checkOnce(login, token, now)
    return Math.min(login.refresh.until, now + renewMs)
  }

  /** The last refresh token, or the one before whose answer was lost. Another one ends the login. Throws `Refusal`. */
  async #checkOnce (login: Login, token: RefreshToken, now: number): Promise<void> {
    const { host, options } = this.#parts
    if (token.generation < login.generation && !(token.generation === login.generation - 1 && now - login.renewedAt < options.graceMs)) {
      // Two have it: its owner, and who has stolen it. Which of them this is cannot be told.
      host.log.warn({ user: token.user, login: token.id }, 'a refresh token was used again: its login is ended')
      await this.#end(token.user, [token.id], 'one of its tokens was used twice')
      throw ended()
    }
    if (token.generation > login.generation || (token.generation === login.generation && !isHashOf(login.refresh.hash, token.secret)) || login.refresh.until <= now) throw ended()
  }

  get #changes (): number { return this.#ended + this.#parts.rows.changes }

  async #renew (token: RefreshToken): Promise<LoginTokens> {
    const { host, options } = this.#parts
    for (;;) {
      const found = await this.#logins.find(token.user, token.id)
      if (found === undefined) throw ended()
      const { login } = found
      const now = host.now()
      await this.#checkOnce(login, token, now)
      this.#entitled(login, await host.store.user(token.user))
      const [access, refresh] = [newSecret(), newSecret()]
      const change = { access: { hash: hashOf(access), until: now + options.accessMs }, refresh: { hash: hashOf(refresh), until: now + options.refreshMs }, generation: login.generation + 1, renewedAt: now, seenAt: now }
      if (!await this.#logins.change(found, change)) continue
      host.emit([{ kind: 'extended', user: token.user, grant: token.id, until: change.access.until }])
      return await this.#tokensOf({ ...login, ...change }, access, refresh)
    }
  }

  async #tokensOf ({ user, id, generation, access, refresh }: Login, accessSecret: string, refreshSecret: string): Promise<LoginTokens> {
    return {
      id,
      accessToken: accessText({ user, id, secret: accessSecret }),
      expiresAt: access.until,
      refreshToken: refreshText({ user, id, generation, secret: refreshSecret }, await this.#key()),
      refreshExpiresAt: refresh.until
    }
  }

  /** Logins that have to go for another one on the platform. */
  async #surplus (user: string, platform: string | undefined): Promise<string[]> {
    const { host, options } = this.#parts
    const [all, account, now] = [await this.#logins.of(user), await host.store.user(user), host.now()]
    const over = all.filter(({ login }) => this.#isOver(login, account, now)).map(({ login }) => login.id)
    await this.#logins.drop(user, over)
    const rest = all.map(({ login }) => login).filter(({ id }) => !over.includes(id))
    const same = rest.filter(login => login.platform === platform)
    const most = platform === undefined ? Infinity : options.platforms.get(platform) ?? Infinity
    const going = same.slice(0, Math.max(0, same.length + 1 - most))
    const left = rest.filter(login => !going.includes(login))
    return [...going, ...left.slice(0, Math.max(0, left.length + 1 - options.maxPerUser))].map(({ id }) => id)
  }

  /** Their tokens, and their connections, the notice of it first. */
  async #end (user: string, ids: readonly string[], reason: string): Promise<void> {
    await this.#logins.drop(user, ids)
    this.#ended += 1
    const { host } = this.#parts
    for (const id of ids) {
      host.emit([
        { kind: 'notice', user, payload: Buffer.from(JSON.stringify({ kind: 'signedOut', login: id, reason })) },
        { kind: 'kick', user, grant: id, code: 'unauthorized' }
      ])
    }
  }

  #isOver (login: Login, account: UserRow | undefined, now: number): boolean {
    return login.refresh.until <= now || markOf(account?.passwordHash ?? '') !== login.mark
  }

  /** The account that the login is for, which may have been shut out. Throws `Refusal`. */
  #entitled (login: Login, found: UserRow | undefined): UserRow {
    const account = alive(found)
    if (account === undefined || markOf(account.passwordHash ?? '') !== login.mark) throw ended()
    if (account.banned === true) throw new Refusal('banned')
    return account
  }

  /** Nobody waits for it, and a change that comes between goes before it. */
  #seen (found: Found, now: number, address: string): void {
    if (now - found.login.seenAt < seenMs && found.login.address === address) return
    const write = this.#logins.change(found, { seenAt: now, address }).catch((error: unknown) => {
      this.#parts.host.log.warn({ reason: (error as Error).message }, 'when a login was seen last could not be written')
    })
    this.#writing = Promise.all([this.#writing, write])
  }

  #key (): Promise<Uint8Array> {
    this.#secret ??= this.#readKey().catch((error: unknown) => {
      this.#secret = undefined
      throw error
    })
    return this.#secret
  }

  async #readKey (): Promise<Uint8Array> {
    const { records } = this.#parts.host.store
    // Another server that starts on the same database may make one at the same moment: the first one counts.
    return await records.get(secretKey) ?? await records.create(secretKey, randomBytes(32))
  }
}

/** The same for all: which login there is says nothing to who has no token. */
function ended (): Refusal { return new Refusal('unauthorized', 'the token is not known, or counts no more') }
