/** Starts and stops plugins. Whatever they throw, answer or never answer, the server is told in bounded time. */
import type { Logger } from 'pino'
import type { Draft, PluginContext, PluginInstance, Stored } from '../../plugin-api.ts'
import { describeFault, promised } from './plugin-fault.ts'
import { within } from './plugin-limits.ts'
import type { PluginLimits } from './plugin-limits.ts'
import type { LoadedPlugin } from './plugin-loader.ts'
import { PluginError } from './plugin-order.ts'
import { inScope, outOfScope, type PluginOwner } from './plugin-scope.ts'
import type { SharedRate, Spend } from '../shared-limits.ts'
import { newCounts } from './running-plugin.ts'
import type { PluginHooks, RunningPlugin } from './running-plugin.ts'

/** What plugins are offered of the server. */
export interface PluginServer extends Pick<PluginContext, 'blocks' | 'now' | 'steady'> {
  /** Has other servers count together with this one; absent where there are none. */
  share?: ((limit: string, rate: SharedRate, onSpent: Spend) => Spend) | undefined
}

/** Starts all, in order. When one fails, those before it are closed and `PluginError` is thrown. */
export async function startPlugins (loaded: readonly LoadedPlugin[], server: PluginServer, log: Logger, limits: PluginLimits): Promise<RunningPlugin[]> {
  const running: RunningPlugin[] = []
  for (const item of loaded) {
    try {
      running.push(await start(item, server, log, limits))
    } catch (error) {
      await closePlugins(running, log, limits)
      throw new PluginError(`plugin '${item.name}' cannot be started: ${describeFault(error).message}`, { cause: error, problems: [] })
    }
  }
  return running
}

/** Closes all, the last one first. A failure or a close that does not end is logged and keeps nobody else from closing. */
export async function closePlugins (running: readonly RunningPlugin[], log: Logger, { closeTimeoutMs }: PluginLimits): Promise<void> {
  for (const { name, hooks } of running.toReversed()) {
    try {
      await within(promised(hooks.close?.()), closeTimeoutMs, 'close')
    } catch (error) {
      log.error({ plugin: name, err: describeFault(error) }, 'close of a plugin failed')
    }
  }
}

async function start ({ name, plugin, options, source }: LoadedPlugin, server: PluginServer, log: Logger, { startTimeoutMs }: PluginLimits): Promise<RunningPlugin> {
  const owner: PluginOwner = { name, counts: newCounts() }
  const scoped = source === 'built-in' ? undefined : owner
  const answer = bound((given: unknown) => plugin.start(given, pluginContext(server, log, name, scoped)), undefined, scoped)(options)
  const promise = promised(answer)
  let late = false
  // An instance that comes too late has timers and sockets, too.
  promise?.then(instance => { if (late) closeLate(instance, scoped, name, log) }, (error: unknown) => {
    if (late) log.error({ plugin: name, err: describeFault(error) }, 'start of a plugin failed after its time was up')
  })
  let instance: unknown
  try {
    instance = promise === undefined ? answer : await within(promise, startTimeoutMs, 'start')
  } finally {
    late = true
  }
  return { name, timeoutMs: plugin.timeoutMs, onFailure: plugin.onFailure, hooks: hooksOf(instance, scoped), counts: owner.counts }
}

/** Reads the hooks once: a getter that throws fails the start, not a message. */
function hooksOf (instance: unknown, owner: PluginOwner | undefined): PluginHooks {
  if (typeof instance !== 'object' || instance === null) throw new TypeError('start must answer with an object that has onPublish, onStored, close or none of them')
  const { onPublish, onStored, close } = instance as Record<keyof PluginInstance, unknown>
  for (const [name, hook] of Object.entries({ onPublish, onStored, close })) {
    if (hook !== undefined && typeof hook !== 'function') throw new TypeError(`${name} must be a function`)
  }
  const hook = <Given>(known: unknown): (given: Given) => unknown => bound(known as (given: Given) => unknown, instance, owner)
  return {
    ...(onPublish !== undefined && { onPublish: hook<Draft>(onPublish) }),
    ...(onStored !== undefined && { onStored: hook<Stored>(onStored) }),
    ...(close !== undefined && { close: hook<void>(close) })
  }
}

/** The function as a method of `instance`; with an owner it runs under the plugin's name. */
function bound<Given> (hook: (given: Given) => unknown, instance: unknown, owner: PluginOwner | undefined): (given: Given) => unknown {
  const method = hook.bind(instance)
  return owner === undefined ? method : given => inScope(owner, method, given)
}

function closeLate (instance: unknown, owner: PluginOwner | undefined, name: string, log: Logger): void {
  try {
    const failed = (error: unknown): void => { log.error({ plugin: name, err: describeFault(error) }, 'close of a plugin failed') }
    promised(hooksOf(instance, owner).close?.())?.catch(failed)
  } catch (error) {
    log.error({ plugin: name, err: describeFault(error) }, 'a plugin that started too late could not be closed')
  }
}

/** What a plugin calls of the server: nothing of it throws into a timer of the plugin, and all of it runs under the server's name. */
function pluginContext (server: PluginServer, log: Logger, plugin: string, owner: PluginOwner | undefined): PluginContext {
  const child = log.child({ plugin })
  const line = (level: 'info' | 'warn') => (fields: object, text: string): void => {
    try {
      child[level](fields, text)
    } catch (error) {
      child.warn({ err: describeFault(error) }, 'a line of a plugin could not be logged')
    }
  }
  return {
    log: { info: line('info'), warn: line('warn') },
    now: server.now,
    steady: server.steady,
    blocks (receiver, sender) {
      if (typeof receiver !== 'string' || typeof sender !== 'string') return Promise.reject(new TypeError('blocks asks for two user ids'))
      return outOfScope(() => server.blocks(receiver, sender))
    },
    ...server.share !== undefined && { shareLimit: sharing(server.share, child, plugin, owner) }
  }
}

function sharing (share: NonNullable<PluginServer['share']>, log: Logger, plugin: string, owner: PluginOwner | undefined): NonNullable<PluginContext['shareLimit']> {
  return ({ perSecond, burst }, onSpent) => {
    if (!(perSecond > 0) || !(burst > 0) || typeof onSpent !== 'function') throw new TypeError('shareLimit takes a rate above 0 and a function')
    const hear = bound(({ key, tokens }: { key: string, tokens: number }) => { onSpent(key, tokens) }, undefined, owner)
    const spend = share(`plugin ${plugin}`, { perSecond, burst }, (key, tokens) => {
      try {
        hear({ key, tokens })
      } catch (error) {
        log.warn({ err: describeFault(error) }, 'a plugin did not take what was spent at another server')
      }
    })
    return (key, tokens) => { if (typeof key === 'string' && tokens > 0) outOfScope(() => { spend(key, tokens) }) }
  }
}
