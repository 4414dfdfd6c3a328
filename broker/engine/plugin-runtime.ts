/** Starts and stops plugins. */
import type { Logger } from 'pino'
import type { PluginContext } from '../plugin-api.ts'
import { newCounts } from './gates.ts'
import type { RunningPlugin } from './gates.ts'
import type { LoadedPlugin } from './plugin-loader.ts'
import { PluginError } from './plugin-order.ts'

/** Starts all, in order. When one fails, those before it are closed and `PluginError` is thrown. */
export async function startPlugins (loaded: readonly LoadedPlugin[], server: Omit<PluginContext, 'log'>, log: Logger): Promise<RunningPlugin[]> {
  const running: RunningPlugin[] = []
  for (const { name, plugin, options } of loaded) {
    try {
      const instance = await plugin.start(options, { ...server, log: pluginLog(log, name) })
      running.push({ name, timeoutMs: plugin.timeoutMs, onFailure: plugin.onFailure, instance, counts: newCounts() })
    } catch (error) {
      await closePlugins(running, log)
      throw new PluginError(`plugin '${name}' cannot be started: ${error instanceof Error ? error.message : String(error)}`, { cause: error })
    }
  }
  return running
}

/** Closes all, the last one first. A failure is logged and keeps nobody else from closing. */
export async function closePlugins (running: readonly RunningPlugin[], log: Logger): Promise<void> {
  for (const { name, instance } of running.toReversed()) {
    try {
      await instance.close?.()
    } catch (error) {
      log.error({ plugin: name, err: error }, 'close of a plugin failed')
    }
  }
}

function pluginLog (log: Logger, plugin: string): PluginContext['log'] {
  const child = log.child({ plugin })
  return {
    info: (fields, text) => child.info(fields, text),
    warn: (fields, text) => child.warn(fields, text)
  }
}
