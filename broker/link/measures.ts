/** What a part of the server has counted since its start, or counts now: plain data, as everything that crosses the link. */
import type { HistogramData } from '../histogram.ts'
import type { MeasureName } from './measure-names.ts'

export interface Measure {
  name: MeasureName
  labels?: Record<string, string>
  value: number | HistogramData
}

/** A count for each of a label's values. */
export class CountsBy {
  readonly #counts = new Map<string, number>()

  add (value: string): void { this.#counts.set(value, (this.#counts.get(value) ?? 0) + 1) }

  read (name: MeasureName, label: string): Measure[] {
    return [...this.#counts].map(([value, count]) => ({ name, labels: { [label]: value }, value: count }))
  }
}
