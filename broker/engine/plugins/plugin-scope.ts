/**
 * Knows whose code runs: timers, sockets and promises that a plugin makes carry its name with them, so that what they
 * throw on their own time is the plugin's and not the server's.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { fileURLToPath } from 'node:url'
import type { PluginCounts } from './running-plugin.ts'

export interface PluginOwner { readonly name: string, readonly counts: PluginCounts }

const scope = new AsyncLocalStorage<PluginOwner | undefined>()

/** Runs the plugin's code under its name. Costs promises something in the whole process, which is why built-in plugins go without. */
export function inScope<Given, Result> (owner: PluginOwner, task: (given: Given) => Result, given: Given): Result { return scope.run(owner, task, given) }

/** Runs the server's code for a plugin that calls it. */
export function outOfScope<Result> (task: () => Result): Result {
  return scope.getStore() === undefined ? task() : scope.run(undefined, task)
}

/** The plugin whose code (or whose timer, socket, promise) runs now. */
export function currentOwner (): PluginOwner | undefined { return scope.getStore() }

/** Where the server's own code is: `broker/` and `plugins/` of this package, compiled or not. */
const root = fileURLToPath(new URL('../../../', import.meta.url)).replace(/[/\\]dist[/\\]$/, '/').replaceAll('\\', '/')

/** True when the server's own code was running when the error was made: it was broken off, and its state may be half-way. */
export function isServerStack (stack: string): boolean {
  return stack.split('\n').some(line => {
    // What awaits the failure is not running.
    if (!/^\s*at /.test(line) || /^\s*at async /.test(line)) return false
    const at = line.replaceAll('\\', '/')
    const from = at.indexOf(root)
    return from !== -1 && /^(dist\/)?(broker|plugins)\//.test(at.slice(from + root.length))
  })
}
