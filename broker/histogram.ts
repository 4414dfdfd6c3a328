/** How often what was measured lay in which range; ranges double, so that finding one's place costs nothing that shows beside a message. */
export class Histogram {
  readonly #counts: Float64Array
  readonly #scale: number
  #sum = 0

  /** `places` ranges, of which the first ends at 1/`scale`, each later one at twice that, and the last one is what is more. */
  constructor (places: number, scale = 1) {
    this.#counts = new Float64Array(places)
    this.#scale = scale
  }

  /** `times`: so often at once. What is below 0 (a clock was set back) counts as 0. */
  add (value: number, times = 1): void {
    const scaled = Math.ceil(value * this.#scale)
    const at = scaled <= 1 ? 0 : Math.min(32 - Math.clz32(scaled - 1), this.#counts.length - 1)
    this.#counts[at] = (this.#counts[at] as number) + times
    this.#sum += Math.max(0, value) * times
  }

  read (): HistogramData {
    const counts = [...this.#counts]
    return { bounds: counts.slice(1).map((_count, at) => 2 ** at / this.#scale), counts, sum: this.#sum }
  }
}

/** `counts[i]`: what was at most `bounds[i]` and more than the bound before; the last one: what was more than all of them. */
export interface HistogramData { bounds: number[], counts: number[], sum: number }
