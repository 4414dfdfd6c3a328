/**
 * What operations are carried out by: the rules of each subject, as the operations see them. The engine has them; whoever only reads
 * the table (documents, routes, the command line) needs none of it. A rule throws `Refusal` for what the caller may see.
 */
import type { Code } from '../errors.ts'

/** Who asks: the user and the session (device) of a request. */
export interface Caller {
  readonly user: string
  readonly session: string
  /** Speaks for the operator of the server. */
  readonly operator?: boolean
  /** Where the answer goes, for answers that are made as a whole (`sync` with gzip). */
  readonly rid?: string
  /**
   * To be awaited between two pieces of a long answer: resolves at the user's next turn. Rejects with `CallerGone` when nobody
   * waits for the answer any more.
   */
  readonly pause?: Pause
  /** What the request turned out to be worth, in large requests; throws `Refusal` (`rate_limited`) before anything is done. */
  readonly charge?: (requests: number) => void
  /** The same for what was done already: the user's next ones wait for it. */
  readonly owe?: (requests: number) => void
}

/** See `Caller.pause`. */
export type Pause = () => Promise<void>

/** JSON that is written already, in pieces. */
export interface Written { readonly parts: readonly Buffer[] }

/** `after`: the `next` of the page before. */
export interface Page { limit: number, after?: string | undefined }

/** Whom a publish with a verb names. */
export interface Addressee { kind: 'user' | 'group', id: string }

export type Consent = 'everybody' | 'known' | 'nobody'
type Role = 'owner' | 'admin' | 'member'
export type Listed = Page & { user: string }

/** What became of the users whom somebody wanted in a group. */
interface Admitted { added: string[], invited: string[], refused: Array<{ user: string, code: Code }> }
interface Group { gid: string, name: string, owner: string, createdAt: number, meta?: Record<string, unknown> }

/** What a device comes back with. Times are milliseconds since the epoch. */
export interface LoginTokens { id: string, accessToken: string, expiresAt: number, refreshToken: string, refreshExpiresAt: number }
/** A login as its user sees it. `seenAt`: about. */
export interface LoginView { id: string, name?: string, platform?: string, createdAt: number, seenAt: number, address?: string, expiresAt: number }

/** What everybody sees of somebody. */
export interface PersonView { user: string, nickname?: string, avatar?: string }
/** What somebody in particular sees; `visible` and `findable` of oneself. */
export interface ProfileView extends PersonView { language?: string, timeZone?: string, fields?: Record<string, unknown>, visible?: Visible, findable?: Findable }
type Visible = 'everybody' | 'contacts' | 'nobody'
type Findable = 'prefix' | 'exact' | 'nobody'
/** Members that are given are other ones from now on; '' and {} remove. */
export interface ProfileChange {
  nickname?: string | undefined
  avatar?: string | undefined
  language?: string | undefined
  timeZone?: string | undefined
  fields?: Record<string, unknown> | undefined
  visible?: Visible | 'default' | undefined
  findable?: Findable | 'default' | undefined
}

/** From whom somebody takes messages and invitations: with `nobody` of contacts alone, and there are to be no new ones. */
export type ContactMode = 'everybody' | 'contacts' | 'nobody'
/** A contact as the user has it. `since`: milliseconds since the epoch. */
export interface ContactView { user: string, since: number, remark?: string, groups?: string[] }
/** An open request and the one at the other end of it. */
export interface RequestView { user: string, ts: number, text?: string }

export interface Rules {
  readonly blocks: {
    add (user: string, other: string): Promise<void>
    remove (user: string, other: string): Promise<void>
    list (user: string): Promise<string[]>
  }
  readonly consents: {
    of (user: string): Promise<Consent>
    /** `undefined`: as the server's default says. */
    set (user: string, consent: Consent | undefined): Promise<Consent>
  }
  readonly groups: {
    create (by: string, wish: { gid: string, name: string, members: readonly string[], meta?: Record<string, unknown> }, pause?: Pause): Promise<Admitted & { group: Group }>
    add (by: string, gid: string, users: readonly string[], pause?: Pause): Promise<Admitted>
    /** Resolves to those that were in it. */
    remove (by: string, gid: string, users: readonly string[], pause?: Pause): Promise<string[]>
    invitations (user: string): Promise<Array<{ gid: string, name: string, by: string, ts: number }>>
    accept (user: string, gid: string): Promise<void>
    refuse (user: string, gid: string): Promise<void>
    leave (user: string, gid: string): Promise<void>
    dissolve (by: string, gid: string, pause?: Pause): Promise<void>
    role (by: string, gid: string, user: string, role: Role): Promise<void>
  }
  readonly groupViews: {
    info (gid: string, page: Listed): Promise<Group & { size: number, role: Role, members: Array<{ user: string, role: Role, mutedUntil?: number }>, next?: string }>
    list (page: Listed): Promise<{ groups: Array<{ gid: string, name: string, owner?: string, role: Role, size: number }>, next?: string }>
  }
  readonly conversations: {
    list (caller: Caller, page: Page): Promise<Written>
    unread (caller: Caller): Promise<Written>
    set (user: string, conv: string, settings: { muted?: boolean, pinned?: boolean }): Promise<void>
    /** Resolves to the number up to which it is hidden. */
    clear (user: string, conv: string): Promise<number>
    /** Everything up to `seq` was read. */
    mark (user: string, target: Addressee, seq: number): Promise<void>
  }
  readonly profiles: {
    get (viewer: string, user: string): Promise<ProfileView>
    /** Who is not there is left out. */
    list (viewer: string, users: readonly string[], pause?: Pause): Promise<PersonView[]>
    /** `user`: who searches. */
    search (text: string, page: Listed, pause?: Pause): Promise<{ people: PersonView[], next?: string }>
    /** `caller`: the contacts who are told are many. */
    set (user: string, change: ProfileChange, caller?: Pick<Caller, 'pause' | 'owe'>): Promise<ProfileView>
  }
  readonly contacts: {
    request (user: string, other: string, text: string | undefined): Promise<'asked' | 'contact'>
    requests (user: string): Promise<{ received: RequestView[], sent: RequestView[] }>
    accept (user: string, other: string): Promise<void>
    refuse (user: string, other: string): Promise<void>
    remove (user: string, other: string): Promise<void>
    set (user: string, other: string, change: { remark?: string | undefined, groups?: readonly string[] | undefined }): Promise<ContactView>
    list (user: string, page: Page & { group?: string | undefined }): Promise<{ contacts: ContactView[], next?: string }>
    mode (user: string): Promise<ContactMode>
    /** `undefined`: as the server's default says. */
    setMode (user: string, mode: ContactMode | undefined): Promise<ContactMode>
  }
  readonly messages: {
    history (user: string, conv: string, range: { limit: number, before?: number | undefined, after?: number | undefined }): Promise<Written>
    /** Resolves to how many were not hidden before. */
    hide (user: string, conv: string, seqs: readonly number[]): Promise<number>
    reads (conv: string, seq: number, page: Listed): Promise<{ read: string[], delivered: string[], next?: string }>
  }
  readonly tokens: {
    create (user: string, wish: { password: string, name?: string | undefined, platform?: string | undefined }): Promise<LoginTokens & { ended: string[] }>
    /** `caller` '' : whoever has it. */
    refresh (caller: string, refreshToken: string): Promise<LoginTokens>
    list (user: string): Promise<LoginView[]>
    /** Resolves to the ids of those that were ended. */
    revoke (user: string, which: { id: string } | { except: string | undefined }): Promise<string[]>
    /** `keep`: the login that goes on. */
    password (user: string, change: { password: string, newPassword: string, keep?: string | undefined }): Promise<void>
  }
  readonly sync: {
    /** `have`: the last number of each conversation that the device has. */
    missing (caller: Caller, have: ReadonlyMap<string, number>, limit: number): Promise<Written>
    /** The whole answer, packed. */
    packed (caller: Caller, result: Written): Promise<Uint8Array>
  }
  readonly server: {
    info (): ServerInfo
    /** Of a network that is not named it stays; `reset`: as configured. */
    keepAlive (change: KeepAliveChange): Promise<KeepAlive>
  }
}

/** Advised keep alive by the network that a client is on, seconds. */
export type KeepAlive = { wifi: number, cellular: number, nat: number }
export interface KeepAliveChange { wifi?: number | undefined, cellular?: number | undefined, nat?: number | undefined, reset: boolean }

/** How a server knows its users (`auth.mode`). */
export type AuthMode = 'dev' | 'password' | 'jwt' | 'webhook'

// Not an interface: it crosses the link as plain data.
export type ServerInfo = { name: string, version: string, mode: AuthMode, prefix: string, limits: Record<string, number>, keepAlive: KeepAlive, features: string[] }
