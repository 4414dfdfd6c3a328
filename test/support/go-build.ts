/** Builds programs in Go, once per content of their files: the versions are those of go.mod, the checksums those of go.sum. */
import { builtOnce, type Wanted } from './built-once.ts'
import { command } from './commands.ts'

export interface GoProgram extends Wanted {
  /** What is built: a folder of `sources`, or a package of one of its modules. */
  package: string
  tags?: readonly string[]
}

/** The path of the program; builds it when it is not there yet. Needs `go` and, the first time, its module proxy. */
export function buildGo (wanted: GoProgram): Promise<string> {
  const { sources, package: what, tags = [] } = wanted
  // Read-only: what go.sum does not know is an error, whatever the user's settings are.
  return builtOnce(wanted, output => command(sources, 'go', 'build', '-mod=readonly', '-trimpath', ...(tags.length > 0 ? ['-tags', tags.join()] : []), '-ldflags', '-s -w', '-o', output, what))
}
