/** Closes what was opened, the last first. */
export class Cleanup {
  readonly #steps: Array<() => Promise<void> | void> = []
  add (step: () => Promise<void> | void): void { this.#steps.push(step) }

  async run (): Promise<void> {
    const errors: unknown[] = []
    for (let step = this.#steps.pop(); step !== undefined; step = this.#steps.pop()) {
      try {
        await step()
      } catch (err) {
        errors.push(err)
      }
    }
    if (errors.length > 0) throw errors.length === 1 ? errors[0] : new AggregateError(errors, 'the stop failed')
  }
}
