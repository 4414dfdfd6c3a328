/** What is wrong with a configuration; all of it at once, so that one run shows every mistake. */

export interface ConfigProblem {
  /** Where it was written: `sabethes.yaml:3:5`, `SABETHES_HTTP__PORT`, `--http-port`. */
  origin: string
  /** The key it is about, when it is about one. */
  key?: string
  text: string
}

export class ConfigError extends Error {
  readonly problems: readonly ConfigProblem[]

  constructor (problems: readonly ConfigProblem[]) {
    super(problems.map(({ origin, key, text }) => [...(origin === '' ? [] : [origin + ':']), ...(key === undefined ? [] : [key]), text].join(' ')).join('\n'))
    this.name = 'ConfigError'
    this.problems = problems
  }
}
