/** The regression check: ratios of one run against thresholds with a wide margin. Figures that depend on the machine are never compared. */
import type { Report } from './report.ts'

export interface Threshold {
  scenario: string
  metric: string
  /** `earlier` is the commit of `--against`, whichever it is. */
  peer: string
  /** Whose median this peer's is divided by; absent for figures that are ratios by themselves. */
  against?: string
  atLeast?: number
  atMost?: number
}

/**
 * The outcome of each threshold: `ok`, or `missed` with the reason. Scenarios that did not run are left out. `earlier` is the name
 * that the commit of `--against` has in the report.
 */
export function check (report: Report, thresholds: readonly Threshold[], earlier?: string): { ok: boolean, text: string }[] {
  const named = (peer: string): string => peer === 'earlier' && earlier !== undefined ? earlier : peer
  return thresholds.flatMap(threshold => {
    const { scenario, metric, atLeast, atMost } = threshold
    const peer = named(threshold.peer)
    const against = threshold.against === undefined ? undefined : named(threshold.against)
    const result = report.scenarios.find(one => one.scenario === scenario)
    if (result === undefined) return []
    const name = `${scenario} ${metric} ${peer}${against === undefined ? '' : `/${against}`}`
    // A peer that is not installed cannot be compared with; one that gave wrong results is a failure.
    const absent = [peer, against].find(one => one !== undefined && (one in result.skipped || !result.peers.some(entry => entry.peer === one)))
    if (absent !== undefined) return [{ ok: true, text: `${name}: not compared, ${absent} did not run` }]
    const medianOf = (one: string) => result.peers.find(entry => entry.peer === one)?.figures[metric]?.median ?? Number.NaN
    const ratio = medianOf(peer) / (against === undefined ? 1 : medianOf(against))
    const bound = [atLeast === undefined ? '' : `at least ${atLeast}`, atMost === undefined ? '' : `at most ${atMost}`].filter(Boolean).join(', ')
    const ok = ratio >= (atLeast ?? Number.NEGATIVE_INFINITY) && ratio <= (atMost ?? Number.POSITIVE_INFINITY)
    return [{ ok, text: `${name}: ${Number.isNaN(ratio) ? 'void' : ratio.toFixed(2)} (${bound})` }]
  })
}
