/** How late the event loop of this thread is, since the last look. Measured from the first look on: nobody's clock ticks for nobody. */
import { monitorEventLoopDelay, type IntervalHistogram } from 'node:perf_hooks'

const resolutionMs = 20
const perSecond = 1e9

export class LoopDelay {
  #histogram: IntervalHistogram | undefined

  /** Seconds by quantile; empty at the first look. */
  read (): Array<[quantile: string, seconds: number]> {
    const histogram = this.#histogram
    if (histogram === undefined) {
      this.#histogram = monitorEventLoopDelay({ resolution: resolutionMs })
      this.#histogram.enable()
      return []
    }
    // Its values are times between two ticks, the interval included.
    const late = (ns: number): number => Math.max(0, ns / perSecond - resolutionMs / 1000)
    const read: Array<[string, number]> = histogram.count === 0 ? [] : [['0.5', late(histogram.percentile(50))], ['0.99', late(histogram.percentile(99))], ['1', late(histogram.max)]]
    histogram.reset()
    return read
  }

  close (): void {
    this.#histogram?.disable()
    this.#histogram = undefined
  }
}
