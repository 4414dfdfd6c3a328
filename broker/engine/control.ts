/** The control side of the engine: everything that is no message on its way to the commit. */
import { Refusal } from '../errors.ts'
import { requests } from '../operations.ts'
import type { ContactMode, Pause, Rules, ServerInfo } from '../operations/rules.ts'
import { Topics } from '../topics.ts'
import { type AccountOptions, type Accounts, createAccounts } from './people/accounts.ts'
import { Blocks } from './people/blocks.ts'
import { Acceptance } from './people/contacts/acceptance.ts'
import { Contacts } from './people/contacts/contacts.ts'
import type { Control, ControlOptions } from './control-port.ts'
import { Consents } from './groups/consent.ts'
import { Expiry } from './reading/expiry.ts'
import { Groups } from './groups/groups.ts'
import { GroupViews } from './groups/group-views.ts'
import type { EngineHost } from './host.ts'
import { History } from './reading/history.ts'
import { defaultKeepAlive, KeepAliveAdvice, type KeepAliveOptions } from './keep-alive-advice.ts'
import { Marks } from './reading/marks.ts'
import { createRemote } from './remote.ts'
import type { Remote } from '../link/remote.ts'
import { defaultProfileSettings, Profiles, type ProfileSettings } from './people/profiles/profiles.ts'
import { Purge } from './messages/purge.ts'
import { Receipts } from './reading/receipts.ts'
import { Conversations } from './reading/conversations.ts'
import { Sync } from './reading/sync.ts'
import { Sessions } from './sessions/sessions.ts'
import { Streams } from './reading/streams.ts'

/** Beside the agreed options: what only control needs to know. */
export interface ControlSetup extends ControlOptions {
  /** Milliseconds between two searches for expired sessions. */
  sweepIntervalMs?: number
  /** Ends of sessions that the store did not take, kept for another try. */
  maxUnstoredEnds?: number
  /** Milliseconds before that try. */
  endRetryMs?: number
  /** Passwords, back-off. */
  accounts?: AccountOptions
  /** Of people who have said nothing. */
  profiles?: ProfileSettings
  contactMode?: ContactMode
  /** What clients are advised. */
  keepAlive?: KeepAliveOptions
  /** For `serverInfo`. */
  version?: string
  prefix?: string
}

/** `Control` with what the operator's channel needs. */
export interface ControlParts extends Control {
  readonly accounts: Accounts
  readonly remote: Remote
  /** A message of `user` moved their own read mark past messages of others, to `seq`. */
  replied (user: string, conv: string, seq: number): void
  /** Takes up what is kept of an earlier run; to be called before the server is described. */
  load (): Promise<void>
  /** Carries out a request of the table that is for the operator. Rejects with `Refusal`. */
  operate (name: string, params: Record<string, unknown>): Promise<unknown>
  /** One round of the retention purge, by the configured retention or another one; resolves to how many messages went. */
  purge (retentionSeconds?: number): Promise<number>
}

const features = ['direct', 'groups', 'history', 'sync', 'receipts', 'read-lists', 'unread', 'blocks', 'invitations', 'mqtt5', 'compact', 'shares', 'people', 'contacts'] as const

export function createControl (host: EngineHost, setup: ControlSetup): ControlParts {
  const { receipts, marks } = createMarks(host, setup)
  const { acceptance, contacts, blocks, profiles, accounts } = createPeople(host, setup)
  const consents = new Consents(host, { blocks, contacts: acceptance }, setup.groupConsent ?? 'everybody')
  const groups = new Groups(host, consents)
  const sessions = createSessions(host, marks, setup)
  const streams = new Streams(host, marks, sessions)
  const purge = new Purge(host, setup.purgeIntervalMs ?? 60_000)
  const keepAlive = new KeepAliveAdvice(host, setup.keepAlive ?? defaultKeepAlive, () => { host.emit([{ kind: 'server', info: { ...serverInfo() } }]) })
  const serverInfo = (): ServerInfo => describe(host, setup, keepAlive)

  const rules: Rules = {
    blocks,
    consents,
    groups,
    groupViews: new GroupViews(host, groups),
    conversations: new Conversations({ host, marks, receipts, expiry: new Expiry(host.store) }),
    messages: new History(host, marks),
    sync: new Sync(host),
    tokens: accounts.tokens,
    profiles,
    contacts,
    server: { info: serverInfo, keepAlive: change => keepAlive.change(change) }
  }
  return {
    rules,
    accounts,
    remote: createRemote({ host, accounts, blocks, acceptance, consents, groups, keepAlive, seats: sessions.seats }),
    replied: (user, conv, seq) => { receipts.read(user, conv, seq) },
    authenticate: request => accounts.authenticate(request),
    authenticateStep: request => accounts.authenticateStep(request),
    admits: user => accounts.admits(user),
    openSession: start => sessions.open(start),
    saveSubscriptions: (session, subscriptions) => sessions.saveSubscriptions(session, subscriptions),
    closeSession: end => sessions.close(end),
    streams: query => streams.list(query),
    read: query => streams.read(query),
    advance (moves) { for (const move of moves) marks.advance(move) },
    prove (proofs) { for (const proof of proofs) marks.prove(proof) },
    isMember: (user, gid) => groups.isMember(user, gid),
    serverInfo,
    mayPost: (user, gid) => groups.mayPost(user, gid),
    mayWrite: (receiver, sender) => acceptance.mayWrite(receiver, sender),
    blocks: (receiver, sender) => blocks.has(receiver, sender),
    userExists: uid => accounts.exists(uid),
    purge: retentionSeconds => purge.run(retentionSeconds),
    load: async () => { await Promise.all([keepAlive.load(), accounts.load(), acceptance.load()]) },
    operate: (name, params) => operate(rules, name, params),
    async close () {
      await Promise.all([purge.close(), sessions.end(), accounts.close()])
      await marks.close()
      await receipts.close()
    }
  }
}

function createMarks (host: EngineHost, { receiptIntervalMs }: ControlSetup): { receipts: Receipts, marks: Marks } {
  const receipts = new Receipts(host, receiptIntervalMs)
  const marks = new Marks({
    store: host.store,
    log: host.log,
    maxDelayMs: receiptIntervalMs,
    onMoved: moved => { receipts.moved(moved) }
  })
  return { receipts, marks }
}

interface PeopleParts { acceptance: Acceptance, contacts: Contacts, blocks: Blocks, profiles: Profiles, accounts: Accounts }

function createPeople (host: EngineHost, setup: ControlSetup): PeopleParts {
  const blocks = new Blocks(host)
  const acceptance = new Acceptance(host, setup.contactMode ?? 'everybody')
  const contacts = new Contacts(host, { acceptance, blocks })
  const known = { has: (user: string, other: string) => acceptance.has(user, other), names: (user: string, pause?: Pause) => contacts.names(user, pause) }
  const profiles = new Profiles(host, { blocks, contacts: known }, setup.profiles ?? defaultProfileSettings)
  return { acceptance, contacts, blocks, profiles, accounts: createAccounts(host, setup.accounts, [profiles, contacts]) }
}

async function operate (rules: Rules, name: string, params: Record<string, unknown>): Promise<unknown> {
  const operation = requests.get(name)
  if (operation?.permission !== 'operator') throw new Refusal('not_found', `no such request for the operator: '${name}'`)
  return await operation.run(rules, { user: '', session: '', operator: true }, params)
}

function createSessions (host: EngineHost, marks: Marks, setup: ControlSetup): Sessions {
  return new Sessions(host, marks, {
    topics: new Topics(setup.prefix),
    sweepIntervalMs: setup.sweepIntervalMs ?? 300_000,
    maxUnstoredEnds: setup.maxUnstoredEnds ?? 100_000,
    ...(setup.endRetryMs !== undefined && { retryMs: setup.endRetryMs })
  })
}

/** What the server says of itself. */
function describe (host: EngineHost, setup: ControlSetup, keepAlive: KeepAliveAdvice): ServerInfo {
  return {
    name: 'sabethes',
    version: setup.version ?? '0',
    mode: host.mode,
    prefix: setup.prefix ?? 'im',
    limits: { ...host.limits },
    keepAlive: keepAlive.current,
    features: [...features]
  }
}
