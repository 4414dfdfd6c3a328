/** An engine on a real store whose commits tests can hold, count and fail. */
import { pino } from 'pino'
import type { Test } from 'tap'
import { createEngine } from '../../broker/engine/engine.ts'
import type { EngineInstance, EngineOptions } from '../../broker/engine/engine.ts'
import type { Output, Submission, Verdict } from '../../broker/link/port.ts'
import type { LoadedPlugin } from '../../broker/engine/plugins/plugin-loader.ts'
import type { Plugin } from '../../broker/plugin-api.ts'
import { openLevelStore } from '../../broker/store/level/store.ts'
import type { Operation, Outcome, Store } from '../../broker/store/store.ts'
import { Topics } from '../../broker/topics.ts'

export const limits = {
  maxMessageBytes: 65_536,
  queuedPublishes: 1024,
  maxGroupMembers: 1000,
  maxGroupsPerUser: 100,
  maxGroupMemberships: 200,
  maxInvitationsMade: 5,
  maxInvitations: 3,
  maxSessionsPerUser: 10,
  maxSharesPerUser: 3,
  maxProfileFields: 4,
  maxProfileFieldBytes: 200,
  maxContacts: 4,
  maxContactRequests: 3,
  maxContactRequestsMade: 5,
  maxBlocks: 10,
  maxSessionExpirySeconds: 3600,
  retentionSeconds: 0
}

export interface EngineBench {
  engine: EngineInstance
  store: Store
  /** The same without the hooks: for another engine on it, as after a restart. */
  level: Store
  outputs: Output[]
  /** Operations of each commit so far. */
  commits: number[]
  /** Runs before each commit reaches the store; a throw fails the commit. */
  before: (operations: readonly Operation[]) => void | Promise<void>
  /** Submits one publish; `ref` is returned. */
  send (from: string, topic: string, payload: string | Uint8Array, more?: Partial<Submission>): number
  verdict (ref: number): Promise<Verdict>
  /** The envelopes of the committed messages so far. */
  envelopes (): Array<Record<string, unknown>>
}

export function loadedPlugin (plugin: Plugin, options: unknown = {}): LoadedPlugin {
  return { name: plugin.name, description: plugin.description, source: 'test', plugin, options }
}

/** `opened`: the store of an earlier bench, which closes it. */
export async function openBench (t: Test, options: Partial<EngineOptions> = {}, opened?: Store): Promise<EngineBench> {
  const level = opened ?? await openLevelStore({ path: t.testdir() })
  const topics = new Topics()
  const waiting = new Map<number, (verdict: Verdict) => void>()
  const known = new Map<number, Verdict>()
  let lastRef = 0
  const bench: Omit<EngineBench, 'engine'> & { engine: EngineInstance | undefined } = {
    engine: undefined,
    outputs: [],
    commits: [],
    before: () => {},
    level,
    store: new Proxy(level, {
      get (target, key) {
        const value = Reflect.get(target, key) as unknown
        if (typeof value !== 'function') return value
        if (key !== 'commit') return value.bind(target) as unknown
        return async (operations: readonly Operation[]): Promise<Outcome[]> => {
          bench.commits.push(operations.length)
          await bench.before(operations)
          return await target.commit(operations)
        }
      }
    }),
    send (from, topic, payload, more = {}) {
      const target = topics.target(topic)
      if ('refuse' in target) throw new Error(target.reason)
      const ref = ++lastRef
      bench.engine?.submit([{ ref, session: `${from}/phone`, user: from, target, payload: Buffer.from(payload), qos: 1, packetId: ref, dup: false, ...more }])
      return ref
    },
    verdict: ref => new Promise(resolve => {
      const verdict = known.get(ref)
      if (verdict !== undefined) resolve(verdict)
      else waiting.set(ref, resolve)
    }),
    envelopes: () => bench.outputs.flatMap(output => output.kind === 'message' ? [JSON.parse(Buffer.from(output.payload).toString())] : [])
  }
  bench.engine = await createEngine({
    store: bench.store,
    limits,
    mode: 'dev',
    log: pino({ level: 'silent' }),
    plugins: [],
    receiptIntervalMs: 10,
    output (outputs) {
      for (const output of outputs) {
        bench.outputs.push(output)
        if (output.kind !== 'verdict') continue
        known.set(output.ref, output)
        waiting.get(output.ref)?.(output)
      }
    },
    ...options
  })
  t.teardown(async () => {
    await bench.engine?.close()
    if (opened === undefined) await level.close()
  })
  return bench as EngineBench
}
