/** Lets a few go on at a time, and the others in the order in which they came. */
export class Few {
  readonly #max: number
  #inside = 0
  #waiting: Array<() => void> = []
  #first = 0
  #letting = false

  constructor (max: number) { this.#max = max }

  /** Calls `go` when there is a place, at once where one is free; whoever was let in calls `leave` once. */
  enter (go: () => void): void {
    this.#waiting.push(go)
    this.#letIn()
  }

  /** The place is the next one's. */
  leave (): void {
    this.#inside--
    this.#letIn()
  }

  #letIn (): void {
    // Who leaves at once lets nobody in by itself: thousands would stand on one another.
    if (this.#letting) return
    this.#letting = true
    while (this.#inside < this.#max && this.#first < this.#waiting.length) {
      const go = this.#waiting[this.#first++] as () => void
      this.#inside++
      go()
    }
    this.#letting = false
    // Taking the first one out of a long array moves all others.
    if (this.#first === this.#waiting.length || this.#first >= 1024) {
      this.#waiting = this.#waiting.slice(this.#first)
      this.#first = 0
    }
  }
}
