/** A clock that is read often: milliseconds, monotonic (a moved wall clock ends no connection), exact to the last turn or sweep. */
export class Clock {
  #now = performance.now()
  get now (): number { return this.#now }
  refresh (): number { return (this.#now = performance.now()) }
}
