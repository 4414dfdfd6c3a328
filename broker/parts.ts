/** Makes the parts that a running server and an offline command share from a configuration. */
import type { Logger } from 'pino'
import { builtInPlugins, type Config } from './config/schema.ts'
import { createEngine, type EngineInstance } from './engine/engine.ts'
import type { EngineLimits } from './engine/host.ts'
import type { KeepAliveOptions } from './engine/keep-alive-advice.ts'
import type { RequestOptions } from './engine/requests/request.ts'
import type { LoadedPlugin } from './engine/plugins/plugin-loader.ts'
import { loadPlugins } from './engine/plugins/plugin-loader.ts'
import type { LimitWords } from './link/limits.ts'
import type { Output } from './link/port.ts'
import type { Others } from './link/remote.ts'
import { nodeName } from './node-name.ts'
import type { SignInLimitsOptions } from './engine/people/sign-in-limits.ts'
import type { TokenOptions } from './engine/people/tokens/tokens.ts'
import { refuseSecond } from './http/control-socket.ts'
import type { PluginInfo } from './http/control-target.ts'
import { makeFolder } from './store/folder.ts'
import { openLevelStore, shownKey } from './store/level/store.ts'
import type { Store } from './store/store.ts'
import type { Topics } from './topics.ts'
import { packageVersion } from './version.ts'

/** Different rows of damage that one process logs: each is one entry, and a disk may have very many. */
const maxDamageEntries = 1000

/**
 * Opens the configured store; rejects when it cannot be used. What it repairs by itself is a warning in the log. `onLost` is
 * called when it failed and cannot be opened anew: the process has to end. Only a server gives it: who does is one of those that share a database. `owns`: what
 * it writes for all of them.
 */
export async function openStore (config: Config, log: Logger, onLost?: (error: Error) => void, owns?: (log: string) => boolean): Promise<Store> {
  const { driver, path, cacheConversations, resendWindowSeconds, url, database, timeoutMs } = config.store
  await makeFolder(path).catch((error: unknown) => {
    throw new Error(`the data folder ${path} cannot be made: ${(error as Error).message}; name another one with store.path (--data, SABETHES_STORE__PATH)`, { cause: error })
  })
  if (driver === 'mongodb') {
    // Before it ends what it takes for its own earlier start.
    if (onLost !== undefined) await refuseSecond(path)
    // The driver is loaded by those who use it.
    const { openMongoStore } = await import('./store/mongodb/store.ts')
    const onDerivedFailure = (error: unknown): void => {
      // The text alone: errors of the driver carry what was to be written.
      const reason = error instanceof Error ? error.message : String(error)
      log.warn({ part: 'store', reason }, 'messages are stored, but what follows from them could not be written: the next reader writes it')
    }
    return await openMongoStore({
      url,
      database,
      timeoutMs,
      resendWindowSeconds,
      cache: { heads: cacheConversations },
      onDerivedFailure,
      ...onLost !== undefined && { node: { name: await nodeName(path), onLost } },
      ...config.cluster.redis !== '' && { owns: owns ?? (() => false) }
    })
  }
  const damaged = new Set<string>()
  return await openLevelStore({
    path,
    resendWindowSeconds,
    cache: { heads: cacheConversations },
    ...onLost !== undefined && { onLost },
    onOpenPaths: paths => { log.warn({ part: 'store', paths }, 'others than the owner may read these, and this user may not change it: make folders 0700 and files 0600') },
    onDamage: (row, err) => {
      if (damaged.has(row) || damaged.size >= maxDamageEntries) return
      damaged.add(row)
      const fields = { part: 'store', row: shownKey(row), ...(err === undefined ? {} : { err }) }
      log.error(fields, 'a row of the store is damaged: what it held is not served; sabethes doctor --deep says what is damaged')
    }
  })
}

/** The engine with the configured plugins, and what `sabethes plugin list` shows of them. `letsIn`: people sign in to it. */
export async function openEngine (config: Config, { letsIn = false, ...deps }: { store: Store, topics: Topics, log: Logger, output: (outputs: Output[]) => void, others?: Others | undefined, limitWords?: LimitWords | undefined, letsIn?: boolean, now?: () => number }): Promise<{ engine: EngineInstance, plugins: PluginInfo[] }> {
  // Paths of plugins are relative to the working folder, as store.path is.
  const plugins = await loadPlugins(config.plugins, { baseDir: process.cwd(), timeoutMs: config.pluginLimits.startTimeoutMs })
  const engine = await createEngine({
    ...deps,
    log: deps.log.child({ part: 'engine' }),
    limits: engineLimits(config),
    requests: requestOptions(config),
    feed: config.feed,
    mode: config.auth.mode,
    plugins,
    pluginLimits: config.pluginLimits,
    receiptIntervalMs: config.messages.receiptIntervalMs,
    maxClockBackMs: config.messages.maxClockBackSeconds * 1000,
    maxUnstoredEnds: config.sessions.unstoredEnds,
    groupConsent: config.groups.consent === 'auto' ? (config.auth.mode === 'dev' ? 'everybody' : 'known') : config.groups.consent,
    profiles: { findable: config.people.findable, visible: config.people.visible },
    contactMode: config.contacts.mode,
    keepAlive: keepAliveOptions(config),
    version: packageVersion(),
    prefix: config.mqtt.prefix,
    accounts: {
      hashConcurrency: config.auth.hashConcurrency,
      maxWaiting: config.auth.hashQueue,
      scramIterations: config.auth.scramIterations,
      limits: signInLimits(config),
      tokens: tokenOptions(config),
      ...letsIn && config.auth.mode === 'jwt' && { jwt: config.auth.jwt },
      ...letsIn && config.auth.mode === 'webhook' && { webhook: config.auth.webhook }
    }
  })
  return { engine, plugins: pluginInfos(config, plugins) }
}

function keepAliveOptions ({ mqtt: { keepAlive: { wifiSeconds, cellularSeconds, natSeconds }, limits } }: Config): KeepAliveOptions {
  return { configured: { wifi: wifiSeconds, cellular: cellularSeconds, nat: natSeconds }, maxSeconds: limits.keepAliveMaxSeconds }
}

function signInLimits ({ auth }: Config): SignInLimitsOptions {
  const maxKeys = 100_000
  return {
    pair: { freeFailures: auth.failureLimit, firstDelayMs: 1000, maxDelayMs: 30_000, forgetMs: 900_000, maxKeys },
    account: { burst: auth.accountFailureLimit, perMinute: auth.accountFailuresPerMinute, maxKeys },
    address: { burst: auth.addressFailureLimit, perMinute: auth.addressFailuresPerMinute, maxKeys },
    maxKnownAccounts: auth.knownAccounts
  }
}

function tokenOptions ({ auth: { tokens } }: Config): TokenOptions {
  const { accessSeconds, refreshSeconds, graceSeconds, maxPerUser } = tokens
  const platforms = new Map(tokens.platforms.map(text => text.split('=') as [string, string]).map(([name, most]) => [name, Number(most)]))
  return { accessMs: accessSeconds * 1000, refreshMs: refreshSeconds * 1000, graceMs: graceSeconds * 1000, maxPerUser, platforms }
}

function engineLimits (config: Config): EngineLimits {
  return {
    maxMessageBytes: config.messages.maxBytes,
    queuedPublishes: config.mqtt.limits.queuedPublishes,
    maxGroupMembers: config.groups.maxMembers,
    maxGroupsPerUser: config.groups.maxPerUser,
    maxGroupMemberships: config.groups.maxMemberships,
    maxInvitationsMade: config.groups.maxInvitationsMade,
    maxInvitations: config.groups.maxInvitations,
    maxSessionsPerUser: config.sessions.maxPerUser,
    maxSharesPerUser: config.sessions.maxSharesPerUser,
    maxProfileFields: config.people.maxFields,
    maxProfileFieldBytes: config.people.maxFieldBytes,
    maxContacts: config.contacts.max,
    maxContactRequests: config.contacts.maxRequests,
    maxContactRequestsMade: config.contacts.maxRequestsMade,
    maxBlocks: config.blocks.max,
    maxSessionExpirySeconds: config.sessions.maxExpirySeconds,
    retentionSeconds: config.messages.retentionSeconds
  }
}

/** What is known of the configured plugins; without `loadModules` no code runs but that of the built-in ones. */
export async function configuredPlugins (config: Config, loadModules: boolean): Promise<PluginInfo[]> {
  if (loadModules) return pluginInfos(config, await loadPlugins(config.plugins, { baseDir: process.cwd() }))
  const builtIn: readonly string[] = builtInPlugins
  const own = config.plugins.filter(({ name, enabled }) => !enabled || builtIn.includes(name))
  const known = pluginInfos(config, await loadPlugins(own, { baseDir: process.cwd() }))
  const modules = config.plugins.filter(({ name, enabled }) => enabled && !builtIn.includes(name))
    .map(({ name }) => ({ name, description: 'a module that is not loaded here; --load runs its code, to say more', enabled: true, timeoutMs: 0, onFailure: 'pass' as const, loaded: false as const }))
  return [...known.filter(({ enabled }) => enabled), ...modules, ...known.filter(({ enabled }) => !enabled)]
}

function requestOptions ({ requests }: Config): RequestOptions {
  return {
    concurrency: requests.concurrency,
    concurrencyPerUser: requests.concurrencyPerUser,
    rates: {
      all: { perSecond: requests.perSecond, burst: requests.burst },
      heavy: { perSecond: requests.heavyPerSecond, burst: requests.heavyBurst }
    }
  }
}

function pluginInfos (config: Config, loaded: readonly LoadedPlugin[]): PluginInfo[] {
  const running = loaded.map(({ name, description, plugin }) => ({ name, description, enabled: true, timeoutMs: plugin.timeoutMs, onFailure: plugin.onFailure }))
  const off = config.plugins.filter(entry => !entry.enabled)
    .map(({ name }) => ({ name, description: 'switched off', enabled: false, timeoutMs: 0, onFailure: 'pass' as const }))
  return [...running, ...off]
}
