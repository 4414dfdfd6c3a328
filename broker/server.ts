/** Puts the server together from a configuration. The only file that knows all parts. */
import type { Logger } from 'pino'
import { Gateway, type GatewayOptions } from './gateway/gateway.ts'
import type { OrdinaryBroker } from './ordinary/adapter.ts'
import type { ClusterSetup } from './ordinary/cluster/open.ts'
import { elsewhere } from './gateway/connection/elsewhere.ts'
import { connectionsThatFit, descriptorLimit } from './gateway/listener/descriptors.ts'
import type { GatewayLimits } from './gateway/limits.ts'
import { listenTcp } from './gateway/listener/listeners.ts'
import { OpenTopics } from './gateway/open-topics.ts'
import type { Sessions } from './gateway/sessions.ts'
import { backUpOutside } from './backup-folder.ts'
import { Cleanup } from './cleanup.ts'
import type { RunningServer } from './cli/server-module.ts'
import { tuneCollector } from './collector.ts'
import type { Config } from './config/schema.ts'
import { openCore } from './core.ts'
import { Drain, type DrainSetup } from './drain.ts'
import { plainBeyondHost, type openFurther } from './further-listeners.ts'
import { Strays } from './engine/plugins/strays.ts'
import { writeAddressFile } from './http/address-file.ts'
import type { ControlTarget } from './http/control-target.ts'
import type { Core, CoreEvents, Records } from './link/core.ts'
import type { Output } from './link/port.ts'
import { createLog } from './log.ts'
import { isLoopback } from './network.ts'
import { serversOf } from './nodes.ts'
import { prepareHttp } from './serve-http.ts'
import { ServerClock } from './server-clock.ts'
import { Topics } from './topics.ts'
import { packageVersion } from './version.ts'

export { openOffline, restoreOffline } from './offline.ts'

/** Starts everything; rejects (and closes what was open) when a part cannot start. */
export async function startServer (config: Config): Promise<RunningServer> {
  const cleanup = new Cleanup()
  try {
    return await start(config, cleanup)
  } catch (err) {
    await cleanup.run()
    throw err
  }
}

async function start (config: Config, cleanup: Cleanup): Promise<RunningServer> {
  const { log, close: closeLog } = createLog(config.log)
  cleanup.add(closeLog)
  const startedAt = performance.now()
  if (tuneCollector()) log.info('one core: the event loop marks garbage itself')
  let lost: Error | undefined
  let lose: (error: Error) => void = () => {}
  const failed = new Promise<Error>(resolve => { lose = resolve })
  const openTopics = new OpenTopics(config.mqtt.openTopics, config.mqtt.prefix)
  // Before there is a gateway nobody is connected: nothing that the engine says then is for anybody.
  let hear = (_outputs: Output[]): void => {}
  const open = config.engine.thread ? openInThread : openCore
  const core = await open(config, log, {
    output: outputs => { hear(outputs) },
    onLost: error => {
      lost = error
      lose(error)
    }
  })
  // Sessions are put away while the engine still takes them; then it writes what it has.
  cleanup.add(() => core.close())
  const ordinary = await openOrdinary(config, core.records, openTopics, log)
  cleanup.add(() => ordinary?.close())
  const description = await core.engine.describe()
  const gateway = gatewayOf(config, log, core, { description, openTopics, ordinary })
  hear = outputs => { gateway.output(outputs) }
  cleanup.add(() => gateway.close())

  const mqttAt = await gateway.restore().then(() => listenTcp(gateway, config.mqtt.tcp))
  cleanup.add(() => { mqttAt.close() })
  const further: Awaited<ReturnType<typeof openFurther>> = []
  const stopListening = (): void => {
    mqttAt.close()
    for (const { kind, close } of further) if (kind.startsWith('mqtt')) close()
  }
  const leaving = drainOf({ config, core, gateway, stopListening, log }, cleanup)
  const nodes = serversOf({ config, core, gateway, self: description.node })
  let tell: (addresses: RunningServer['addresses']) => void = () => {}
  const told = new Promise<RunningServer['addresses']>(resolve => { tell = resolve })
  const { listenHttp, openOthers } = await prepareHttp(config, log, { gateway, core }, { ready: () => core.health(), alive: () => lost === undefined, draining: () => leaving.drain.begun, entrance: { config, nodes, addresses: told } }, cleanup)
  const { startControl } = await import('./http/control.ts')
  const control = await startControl(config.store.path, controlTarget(config, { core, sessions: gateway.sessions, addresses: told, startedAt, nodes, drain: leaving.byOperator }))
  cleanup.add(() => control.close())
  further.push(...await openOthers())
  // Last, and nothing is waited for behind it: who finds the server ready finds the operator's channel and the file, too.
  const httpAt = await listenHttp()
  const addresses = { mqtt: { host: mqttAt.host, port: mqttAt.port }, http: { host: httpAt.host, port: httpAt.port }, further: further.map(({ kind, host, port }) => ({ kind, host, port })) }
  tell(addresses)
  cleanup.add(writeAddressFile(config.store.path, { pid: process.pid, prefix: config.mqtt.prefix, wsPath: config.mqtt.ws.path, mqtt: addresses.mqtt, http: addresses.http }, err => {
    log.warn({ err }, 'no room for the file that names the ports: commands that look for this server take the configured ones')
  }))
  for (const plain of plainBeyondHost(config)) log.warn(plain, 'this listens beyond this machine without TLS: whoever is on the way reads passwords and messages')
  log.info({ addresses, mode: config.auth.mode, store: config.store.path }, 'started')
  const strays = new Strays(log.child({ part: 'process' }))
  return { addresses, failed, ...leaving.stop, stray: (kind, error) => strays.judge(kind, error), close: async () => { await cleanup.run() } }
}

interface Leaving { drain: Drain, byOperator: ControlTarget['drain'], stop: Pick<RunningServer, 'drain' | 'drained'> }

/** How clients go to other servers: with SIGTERM where there are some, and when an operator says so. */
function drainOf (setup: DrainSetup, cleanup: Cleanup): Leaving {
  const drain = new Drain(setup)
  cleanup.add(() => { drain.close() })
  let end: () => void = () => {}
  const drained = new Promise<void>(resolve => { end = resolve })
  return {
    drain,
    byOperator: async progress => {
      await drain.run(progress)
      // The answer goes before the server does.
      setImmediate(end)
    },
    stop: { drained, ...setup.config.cluster.redis !== '' && { drain: () => drain.beforeStop() } }
  }
}

interface GatewayParts { description: Awaited<ReturnType<Core['engine']['describe']>>, openTopics: OpenTopics, ordinary: OrdinaryBroker | undefined }

function gatewayOf (config: Config, log: Logger, core: Core, { description: { info, now, node, aheadMs = 0 }, openTopics, ordinary }: GatewayParts): Gateway {
  const clock = { aheadMs }
  const serverTime = serverClock(config, now, () => Date.now() + clock.aheadMs)
  return new Gateway({
    engine: core.engine,
    serverInfo: info,
    now: () => serverTime.now(),
    onClock: ahead => { clock.aheadMs = ahead },
    topics: new Topics(config.mqtt.prefix),
    openTopics,
    ordinary,
    ...kept(config, core, node),
    limits: gatewayLimits(config, log),
    log: log.child({ part: 'access' }),
    ...entrance(config),
    visits: { visits: config.http.api ? config.http.concurrency : 0, visitsPerUser: config.http.concurrencyPerUser },
    streams: { streams: config.http.api ? config.http.stream.most : 0, streamsPerUser: config.http.stream.perUser }
  })
}

/** Where wills are kept; `node`: this process, where it shares the store. In a cluster outputs come from elsewhere, too, and go there. */
function kept ({ cluster }: Config, { records, nodes, cluster: others }: Core, node: string | undefined): Pick<GatewayOptions, 'records' | 'shared' | 'lateMs' | 'tellOthers'> {
  if (node === undefined) return { records }
  const late = cluster.redis === '' ? {} : { lateMs: cluster.lateMs, tellOthers: (user: string, payload: Uint8Array) => { others.notice(user, payload) } }
  return { ...late, records, shared: { self: node, over: some => nodes.over(some), swap: (key, from, to) => records.swap(key, from, to) } }
}

/** Who is let in without a password in CONNECT, or sent elsewhere. */
function entrance (config: Config): Pick<GatewayOptions, 'anonymous' | 'nameless' | 'authMethods' | 'elsewhere' | 'sys'> {
  const { auth, mqtt } = config
  return {
    anonymous: auth.mode === 'dev' && mqtt.openTopics.length > 0,
    nameless: auth.mode === 'jwt' || auth.mode === 'webhook',
    authMethods: authMethods(auth),
    elsewhere: elsewhere(mqtt.elsewhere),
    sys: { intervalSeconds: mqtt.sys.intervalSeconds, mayRead: sysReaders(config) }
  }
}

function authMethods ({ mode, scramIterations }: Config['auth']): string[] {
  if (mode === 'jwt') return ['JWT']
  return mode === 'password' && scramIterations > 0 ? ['SCRAM-SHA-256'] : []
}

/** Who may read `$SYS`. Without names: whoever comes where anyone is let in, from this machine alone. */
function sysReaders ({ mqtt, http, auth }: Config): (user: string) => boolean {
  const names = new Set(mqtt.sys.readers)
  const everybody = names.has('*') || (names.size === 0 && auth.mode === 'dev' && isLoopback(mqtt.tcp.host) && isLoopback(http.host))
  return user => everybody || names.has(user)
}

/** By the engine's rule, from the engine's time on: a time that was asked for each message would have to be answered at once. */
function serverClock ({ messages }: Config, newest: number, wall: () => number): ServerClock {
  return new ServerClock({ wall, steady: () => performance.now(), newest, maxBackMs: messages.maxClockBackSeconds * 1000 })
}

/** Its thread is loaded by those who use it. */
async function openInThread (config: Config, log: Logger, events: CoreEvents): Promise<Core> {
  const { openThread } = await import('./link/thread.ts')
  const output: CoreEvents['output'] = outputs => {
    try {
      events.output(outputs)
    } catch (error) {
      log.error({ err: error }, 'the receiver of the outputs failed')
    }
  }
  return await openThread(new URL('./engine-thread.js', import.meta.url), config, { ...events, output }, error => {
    log.fatal({ err: error }, 'the thread of the engine has ended: the server ends, so that what watches over it can start it anew')
  })
}

async function openOrdinary (config: Config, records: Records, openTopics: OpenTopics, log: Logger): Promise<OrdinaryBroker | undefined> {
  if (config.mqtt.openTopics.length === 0) return undefined
  const { limits } = config.mqtt
  // Aedes is loaded by those who use it: it costs start-up time and memory.
  const { OrdinaryBroker } = await import('./ordinary/adapter.ts')
  const own = log.child({ part: 'ordinary' })
  return await OrdinaryBroker.start({ records, limits, openTopics, log: own, cluster: await ordinaryCluster(config, own) })
}

/** How ordinary topics reach the other servers; undefined: there are none. */
async function ordinaryCluster ({ cluster, store }: Config, log: Logger): Promise<ClusterSetup | undefined> {
  if (cluster.redis === '') return undefined
  const { connectRedis } = await import('./cluster/redis.ts')
  return {
    namespace: cluster.namespace,
    timeoutMs: store.timeoutMs,
    connect: (use, keyPrefix) => connectRedis({ url: cluster.redis, timeoutMs: cluster.requestTimeoutMs, keyPrefix, log }, use)
  }
}

function gatewayLimits (config: Config, log: Logger): GatewayLimits {
  const { connections: configured, descriptorReserve } = config.mqtt.limits
  const connections = connectionsThatFit(configured, descriptorReserve, descriptorLimit())
  if (connections < configured) {
    log.warn({ configured, connections, descriptorReserve }, 'the system allows fewer open files than mqtt.limits.connections asks for: connections are limited to what fits (ulimit -n)')
  }
  return {
    ...config.mqtt.limits,
    opening: config.mqtt.limits.opening > 0 ? config.mqtt.limits.opening : config.store.driver === 'mongodb' ? 64 : 16,
    connections,
    sessionExpirySeconds: config.sessions.expirySeconds,
    maxSessionExpirySeconds: config.sessions.maxExpirySeconds,
    shareExpirySeconds: Math.min(config.sessions.shareExpirySeconds, config.sessions.maxExpirySeconds)
  }
}

interface Running { core: Core, sessions: Sessions, addresses: Promise<RunningServer['addresses']>, startedAt: number, nodes: ControlTarget['nodes'], drain: ControlTarget['drain'] }

function controlTarget (config: Config, { core, sessions, addresses, startedAt, nodes, drain }: Running): ControlTarget {
  return {
    users: core.accounts,
    feed: core.feed,
    status: async () => ({
      version: packageVersion(),
      pid: process.pid,
      uptimeSeconds: Math.round((performance.now() - startedAt) / 1000),
      mode: config.auth.mode,
      connections: sessions.connections.size,
      retentionSeconds: config.messages.retentionSeconds,
      addresses: await addresses,
      store: { driver: config.store.driver, path: config.store.path, healthy: await core.health().then(() => true, () => false) },
    }),
    nodes,
    drain,
    backup: async (path, progress) => { await backUpOutside(config.store.path, path, () => core.backup(path, progress)) },
    operate: (name, params) => core.operate(name, params),
    purge: async (retentionSeconds = config.messages.retentionSeconds) => ({ messages: await core.purge(retentionSeconds), retentionSeconds }),
    plugins: async () => core.plugins
  }
}
