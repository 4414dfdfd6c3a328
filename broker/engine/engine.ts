/** The engine: takes publishes in the order of each session, lets the gates judge them, commits them and answers. */
import type { Logger } from 'pino'
import type { Store } from '../store/store.ts'
import { answered } from './answered.ts'
import { Committer } from './commit/committer.ts'
import type { CommitCounts } from './commit/commit-measures.ts'
import { StoreFailure } from './commit/store-failure.ts'
import { createControl } from './control.ts'
import type { ControlParts, ControlSetup } from './control.ts'
import { Feed } from './feed/feed.ts'
import type { FeedOptions } from './feed/feed.ts'
import { Gates } from './intake/gates.ts'
import { idFloor, keepIdFloor } from './commit/id-floor.ts'
import type { EngineHost, EngineLimits } from './host.ts'
import { Lanes } from './intake/lanes.ts'
import { messageIds } from './commit/message-id.ts'
import { sayWhole } from './commit/whole.ts'
import type { LoadedPlugin } from './plugins/plugin-loader.ts'
import { Pauses } from './intake/pauses.ts'
import { defaultPluginLimits } from './plugins/plugin-limits.ts'
import type { PluginLimits } from './plugins/plugin-limits.ts'
import { closePlugins, startPlugins, type PluginServer } from './plugins/plugin-runtime.ts'
import { pluginMeasures, type PluginCounts, type RunningPlugin } from './plugins/running-plugin.ts'
import { Recipient } from './intake/recipient.ts'
import type { LimitWords } from '../link/limits.ts'
import type { Measure } from '../link/measures.ts'
import type { Engine, Output } from '../link/port.ts'
import type { Others, Remote } from '../link/remote.ts'
import type { AuthMode } from '../operations/rules.ts'
import { freeRequests, type RequestOptions, Requests } from './requests/request.ts'
import { ServerClock } from '../server-clock.ts'
import { SharedLimits } from './shared-limits.ts'
import { sendingMs, Turns } from '../turns.ts'

export interface EngineOptions extends Omit<ControlSetup, 'receiptIntervalMs'> {
  store: Store
  limits: EngineLimits
  mode: AuthMode
  log: Logger
  /** Bounds of the feed. */
  feed?: FeedOptions
  /** Bounds of requests. */
  requests?: RequestOptions
  /** In the order in which they run; `loadPlugins` gives them. */
  plugins: readonly LoadedPlugin[]
  /** What all plugins are held to. */
  pluginLimits?: PluginLimits
  /** The machine's clock, milliseconds since the epoch. */
  now?: () => number
  /** Milliseconds of a clock that only goes forward. */
  steady?: () => number
  /** Milliseconds: a clock that is set back by more than this is believed. */
  maxClockBackMs?: number
  /** Milliseconds: receipts are merged for this long. */
  receiptIntervalMs: number
  /** Takes the ordered stream of outputs; called at once, must not throw. */
  output: (outputs: Output[]) => void
  /** The other servers that share the store; absent where this engine has it for itself. */
  others?: Others | undefined
  /** Tells them what limits have counted; absent where each counts by itself. */
  limitWords?: LimitWords | undefined
  /** Makes the control side; tests replace it. */
  control?: (host: EngineHost, setup: ControlSetup) => ControlParts
}

export interface EngineInstance extends Engine {
  readonly host: EngineHost
  readonly control: ControlParts
  /** What other servers that share the store may tell it. */
  readonly remote: Remote
  /** What was committed, for readers that must miss nothing. */
  readonly feed: Feed
  /** What was committed since the start. */
  readonly counts: Readonly<CommitCounts>
  /** What it counts for those who run the server. */
  measures (): Promise<Measure[]>
  /** What each plugin did, in the order in which they run. */
  readonly plugins: ReadonlyArray<{ readonly name: string, readonly counts: Readonly<PluginCounts> }>
  /** Commits what was submitted, writes the marks, closes the plugins. What is submitted later fails. The store stays open. */
  close (): Promise<void>
}

/** Starts an engine on an open store. Rejects with `PluginError` when a plugin does not start. */
export async function createEngine (options: EngineOptions): Promise<EngineInstance> {
  const { log, steady = () => performance.now(), pluginLimits = defaultPluginLimits } = options
  const time = await serverTime(options, steady)
  // Gates ask for block lists, which need the committer, which needs the gates: plugins start on a context that reaches
  // what is made below, and are asked only after it is control.
  const blocks = (receiver: string, sender: string): boolean | Promise<boolean> => {
    const answer = control.blocks(receiver, sender)
    return answer instanceof Promise ? answer.catch((error: unknown) => { throw new StoreFailure(error) }) : answer
  }
  const sharedLimits = options.limitWords === undefined ? undefined : new SharedLimits(options.limitWords, steady)
  const share: PluginServer['share'] = sharedLimits && ((name, rate, onSpent) => sharedLimits.share(name, rate, onSpent))
  const running = await startPlugins(options.plugins, { now: time.now, steady, blocks, share }, log, pluginLimits)
  const { host, control, committer, recipient, lanes, requests } = wire(options, { ...time, ...sharedLimits && { sharedLimits } }, running, pluginLimits.listenerPending)
  await control.load()
  const feed = new Feed({ store: options.store.feed, log, now: time.now, ...(options.feed === undefined ? {} : { options: options.feed }) })
  const sayNoMore = sayWhole(options, host, committer)
  const closing = async (): Promise<void> => {
    sayNoMore()
    await lanes.close()
    await committer.drain()
    await control.close()
    await committer.drain()
    sharedLimits?.close()
    await feed.close()
    await closePlugins(running, log, pluginLimits)
  }
  let closed: Promise<void> | undefined

  const { admits, saveSubscriptions, closeSession, streams, read, advance, prove, isMember } = control
  return {
    authenticate: request => answered(control.authenticate(request)),
    authenticateStep: request => answered(control.authenticateStep(request)),
    admits,
    openSession: start => answered(control.openSession(start)),
    saveSubscriptions,
    closeSession,
    streams,
    read,
    advance,
    prove,
    isMember,
    describe: async () => {
      const node = options.store.nodes.self
      return { info: { ...control.serverInfo() }, now: time.now(), ...node !== undefined && { node } }
    },
    host,
    control,
    remote: control.remote,
    feed,
    counts: committer.measures.counts,
    measures: async () => [...committer.measures.read(committer.waiting), ...requests.measures.read('sabethes_requests_total', 'code'), ...pluginMeasures(running), ...await feed.measures()],
    plugins: running.map(({ name, counts }) => ({ name, counts })),
    submit: batch => { lanes.submit(batch) },
    willRefusal: will => recipient.willRefusal(will),
    hangUp: (session, graceful) => { lanes.hangUp(session, graceful) },
    close () {
      return (closed ??= closing())
    }
  }
}

interface Time extends Pick<EngineHost, 'now' | 'steady' | 'newId' | 'sharedLimits'> {}

/** The server's time, which goes on where the store's ends, and the ids that follow it. */
async function serverTime ({ store, log, now: wall = Date.now, maxClockBackMs = 86_400_000 }: EngineOptions, steady: () => number): Promise<Time> {
  const onBelieved = (last: number): void => {
    keepIdFloor(store, last).catch((error: unknown) => { log.error({ err: error }, 'how far ids came is not stored') })
  }
  const clock = new ServerClock({ wall, steady, newest: await store.newest(), maxBackMs: maxClockBackMs, onBelieved, log })
  const now = (): number => clock.now()
  return { now, steady, newId: messageIds(now, { floor: await idFloor(store, wall()) }) }
}

/** The parts that know each other: intake and rules in front of the committer, and what it has to say to them. */
function wire (options: EngineOptions, time: Time, running: readonly RunningPlugin[], listenerPending: number) {
  const { store, limits, mode, log, output, others, control: makeControl = createControl } = options
  let committedAt = -Infinity
  const emit = (outputs: Output[]): void => { if (outputs.length > 0) output(outputs) }
  const pauses = new Pauses(emit)
  const gates = new Gates(running, log, listenerPending, (session, delayMs) => {
    const over = pauses.wait(session, delayMs)
    lanes.held(session)
    return over
  })
  const committer = new Committer({
    store,
    maxQueued: limits.queuedPublishes,
    listeners: gates,
    log,
    output: outputs => {
      committedAt = performance.now()
      emit(outputs)
    },
    onFailed: sessions => { lanes.fail(sessions) },
    onReplied: (user, conv, seq) => { control.replied(user, conv, seq) }
  })
  const host: EngineHost = {
    ...time,
    store,
    limits,
    mode,
    log,
    commit: operations => committer.commit(operations),
    emit: outputs => {
      // Before the connections end: what they sent may wait for seconds, and is not to come after the word of the operator.
      for (const output of outputs) if (output.kind === 'kick' && output.grant === undefined && output.spare === undefined) lanes.cut(output.user, output.session)
      emit(outputs)
    },
    userExists: uid => mode === 'dev' || control.userExists(uid),
    ...others !== undefined && {
      remote: {
        others,
        cut: (user, session) => { lanes.cut(user, session) },
        settled: session => committer.settled(session),
        doubts: session => committer.doubts(session, lanes.failing(session)),
        adopt: (session, doubts) => { committer.adopt(session, doubts) }
      }
    }
  }
  const control = makeControl(host, options)
  const recipient = new Recipient({ host, gates, mayPost: (user, gid) => control.mayPost(user, gid), mayWrite: (receiver, sender) => control.mayWrite(receiver, sender) })
  const turns = new Turns({ contended: () => performance.now() - committedAt < sendingMs })
  const requests = new Requests(host, control, turns, options.requests ?? freeRequests)
  const lanes = new Lanes({ host, committer, pauses, requests, turns, recipient })
  return { host, control, committer, recipient, lanes, requests }
}
