/** A plugin that has started, as gates and listeners see it. */
import type { Measure } from '../../link/measures.ts'
import type { Draft, Stored } from '../../plugin-api.ts'

/** What the instance of a plugin offers, read once; each runs under the plugin's name and answers with anything. */
export interface PluginHooks {
  readonly onPublish?: (draft: Draft) => unknown
  readonly onStored?: (message: Stored) => unknown
  readonly close?: () => unknown
}

/** A started plugin, with what the engine needs to know of it. */
export interface RunningPlugin {
  readonly name: string
  readonly timeoutMs: number
  readonly onFailure: 'refuse' | 'pass'
  readonly hooks: PluginHooks
  readonly counts: PluginCounts
}

/** What a plugin did since the start. */
export interface PluginCounts {
  /** Messages that it refused itself. */
  refused: number
  /** Throws, rejections and answers of `onPublish` that make no sense. */
  failed: number
  /** Answers that did not come within `timeoutMs`. */
  timedOut: number
  /** Throws and rejections of `onStored`. */
  listenerFailed: number
  /** Messages that `onStored` did not hear of, as too many of its promises were open. */
  listenerSkipped: number
  /** Rejections and exceptions on its own time that nobody caught. */
  stray: number
}

export function newCounts (): PluginCounts { return { refused: 0, failed: 0, timedOut: 0, listenerFailed: 0, listenerSkipped: 0, stray: 0 } }

/** Of plugins, for those who run the server. */
export function pluginMeasures (running: readonly RunningPlugin[]): Measure[] {
  return running.flatMap(({ name: plugin, counts: { refused, failed, timedOut, listenerFailed, listenerSkipped, stray } }) => {
    const faults = Object.entries({ failed, timed_out: timedOut, listener_failed: listenerFailed, listener_skipped: listenerSkipped, stray })
    return [
      { name: 'sabethes_plugin_refused_total', labels: { plugin }, value: refused } as const,
      ...faults.map(([kind, value]) => ({ name: 'sabethes_plugin_failures_total', labels: { plugin, kind }, value }) as const)
    ]
  })
}
