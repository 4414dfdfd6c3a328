import type { Test } from 'tap'
import { pino } from 'pino'
import { type ControlParts, type ControlSetup, createControl } from '../../broker/engine/control.ts'
import { envelope, envelopeContent, envelopeTail, eventPayload } from '../../broker/engine/envelope.ts'
import type { EngineHost, EngineLimits } from '../../broker/engine/host.ts'
import { JsonText } from '../../broker/engine/requests/json-text.ts'
import { MemberChanges, pushMembers } from '../../broker/engine/commit/member-changes.ts'
import type { Output } from '../../broker/link/port.ts'
import { openLevelStore } from '../../broker/store/level/store.ts'
import { requests } from '../../broker/operations.ts'
import type { AuthMode } from '../../broker/operations/rules.ts'
import type { NewMessage, Operation, Outcome, Store } from '../../broker/store/store.ts'
import { directId, groupId } from '../../broker/topics.ts'
import { checkResult } from './results.ts'

export const testLimits: EngineLimits = {
  maxMessageBytes: 65_536,
  queuedPublishes: 1024,
  maxGroupMembers: 100_000,
  maxGroupsPerUser: 100,
  maxGroupMemberships: 200,
  maxInvitationsMade: 5,
  maxInvitations: 3,
  maxSessionsPerUser: 5,
  maxSharesPerUser: 2,
  maxProfileFields: 4,
  maxProfileFieldBytes: 200,
  maxContacts: 4,
  maxContactRequests: 3,
  maxContactRequestsMade: 5,
  maxBlocks: 3,
  maxSessionExpirySeconds: 3_600,
  retentionSeconds: 0
}

export interface Bench {
  host: EngineHost
  control: ControlParts
  store: Store
  outputs: Output[]
  clock: { ms: number, steadyMs?: number }
  /** A message as the commit side would make it. */
  message (from: string, to: { user: string } | { gid: string }, body?: string, more?: Partial<NewMessage>): NewMessage
  send (from: string, to: { user: string } | { gid: string }, body?: string, more?: Partial<NewMessage>): Promise<Outcome>
  /** A request as `user`; the result is held against its schema. */
  ask (user: string, method: string, params?: Record<string, unknown>): Promise<any>
  /** A request as the operator; the result is held against its schema. */
  operate (method: string, params?: Record<string, unknown>): Promise<any>
  /** The events of a user's log. */
  events (user: string): Promise<Array<Record<string, unknown>>>
  /** Ends control without its `close` when `crash`, and starts again on the same folder. */
  restart (crash?: boolean): Promise<Bench>
}

export interface BenchOptions { limits?: Partial<EngineLimits>, mode?: AuthMode, setup?: Partial<ControlSetup>, path?: string, clock?: { ms: number, steadyMs?: number }, /** Opens the store; the embedded one without it. */ open?: (path: string) => Promise<Store> }

/** Control over a store, with a host that commits at once. */
export async function bench (t: Test, options: BenchOptions = {}): Promise<Bench> {
  const path = options.path ?? t.testdir() + '/store'
  const store = await (options.open?.(path) ?? openLevelStore({ path }))
  const clock: Bench['clock'] = options.clock ?? { ms: 1_790_000_000_000 }
  const outputs: Output[] = []
  let ids = 0
  const commit = async (operations: readonly Operation[]): Promise<Outcome[]> => {
    const changes = await MemberChanges.read(store, operations)
    const outcomes = await store.commit(operations)
    for (const [i, op] of operations.entries()) {
      const outcome = outcomes[i] as Outcome
      const { seq } = outcome
      const change = changes.apply(op, outcome)
      if (change !== undefined) pushMembers(outputs, change)
      if (op.op === 'message') outputs.push({ kind: 'message', conv: op.conv, seq, from: op.from, payload: envelope(op.conv, seq, op.content) })
      if (op.op === 'event') outputs.push({ kind: 'event', user: op.user, seq, payload: eventPayload(seq, op.content) })
    }
    return outcomes
  }
  const host: EngineHost = {
    store,
    limits: { ...testLimits, ...options.limits },
    mode: options.mode ?? 'dev',
    log: pino({ level: 'silent' }),
    now: () => clock.ms,
    steady: () => clock.steadyMs ?? clock.ms,
    newId: () => `id-${clock.ms}-${ids++}`,
    commit,
    emit: some => { outputs.push(...some) },
    userExists: uid => control.userExists(uid)
  }
  const control: ControlParts = createControl(host, { receiptIntervalMs: 1_000, ...options.setup })
  await control.load()
  let open = true
  const end = async (crash: boolean): Promise<void> => {
    if (!open) return
    open = false
    if (!crash) await control.close()
    await store.close()
  }
  t.teardown(() => end(false))
  const message: Bench['message'] = (from, to, body = 'hi', more = {}) => {
    const id = host.newId()
    const ts = host.now()
    const target = 'user' in to ? { kind: 'user' as const, id: to.user } : { kind: 'group' as const, id: to.gid }
    const content = envelopeContent({ id, from, to: target, ts, tail: envelopeTail('text', body) })
    const conv = 'user' in to ? directId(from, to.user) : groupId(to.gid)
    return { op: 'message', conv, from, id, ts, counts: true, marksSender: true, content, ...more }
  }
  return {
    host,
    control,
    store,
    outputs,
    clock,
    message,
    send: async (...args) => (await commit([message(...args)]))[0] as Outcome,
    ask: async (user, name, params = {}) => {
      const operation = requests.get(name)
      if (operation === undefined) throw new Error(`no request ${name}`)
      const { rid } = params
      const caller = { user, session: `${user}/test`, ...(typeof rid === 'string' && { rid }) }
      const result = await operation.run(control.rules, caller, params)
      if (result instanceof Uint8Array) return result
      const answer: unknown = JSON.parse(result instanceof JsonText ? result.toString() : JSON.stringify(result))
      checkResult(name, answer)
      return answer
    },
    operate: async (name, params = {}) => {
      const answer: unknown = JSON.parse(JSON.stringify(await control.operate(name, params)))
      checkResult(name, answer)
      return answer
    },
    events: async user => (await store.events(user, 0, 1000)).map(event => JSON.parse(event.content) as Record<string, unknown>),
    restart: async (crash = false) => {
      await end(crash)
      return await bench(t, { ...options, path, clock })
    }
  }
}

/** The bodies of messages or entries. */
export function bodies (some: ReadonlyArray<{ payload: Uint8Array } | { body?: unknown }>): unknown[] {
  return some.map(one => 'payload' in one ? (JSON.parse(Buffer.from(one.payload).toString()) as { body: unknown }).body : one.body)
}
