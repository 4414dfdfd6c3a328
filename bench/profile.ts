/** Where a server spends the time of its JavaScript threads: `--profile` has Node write what V8's sampling profiler saw, and adds it up by file. */
import { chmodSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** The parts of a `.cpuprofile` that are read; https://chromedevtools.github.io/devtools-protocol/tot/Profiler/#type-Profile */
export interface CpuProfile {
  nodes: ReadonlyArray<{ id: number, callFrame: { functionName: string, url: string }, children?: readonly number[] }>
  samples: readonly number[]
  timeDeltas: readonly number[]
}

/** What is no time of the thread's own: it waits, or V8 says nothing about it. */
const still = new Set(['(idle)', '(program)', '(root)'])

/** Microseconds by part: the nearest file of the server or of a package that called what ran, `(garbage collector)`, or `node:…` for what nobody called. */
export function byPart ({ nodes, samples, timeDeltas }: CpuProfile): Map<string, number> {
  const known = new Map(nodes.map(node => [node.id, node]))
  const parent = new Map(nodes.flatMap(node => (node.children ?? []).map(child => [child, node.id] as const)))
  const parts = new Map<number, string>()
  const partOf = (id: number): string => {
    const found = parts.get(id)
    if (found !== undefined) return found
    const { functionName, url } = (known.get(id) as CpuProfile['nodes'][number]).callFrame
    const above = parent.get(id)
    const file = /\/dist\/((?:broker|plugins)\/.+)\.js$/.exec(url)?.[1] ?? /\/node_modules\/(.+)$/.exec(url)?.[1] ?? /^file:(.+)$/.exec(url)?.[1]
    const own = still.has(functionName) || functionName === '(garbage collector)' ? functionName : file
    const part = own ?? (above === undefined || still.has(partOf(above)) ? (url === '' ? '(native)' : url) : partOf(above))
    parts.set(id, part)
    return part
  }
  const spent = new Map<string, number>()
  for (const [at, id] of samples.entries()) {
    const part = partOf(id)
    if (!still.has(part)) spent.set(part, (spent.get(part) ?? 0) + (timeDeltas[at] ?? 0))
  }
  return spent
}

/** The area of a part: a folder of the server, the binding of LevelDB, other packages, V8's collections, or Node. */
export function areaOf (part: string): string {
  if (part === '(garbage collector)') return part
  const [top = '', folder = ''] = part.split('/')
  if (top === 'broker') return part.split('/').length > 2 ? `${top}/${folder}` : top
  if (top === 'plugins') return top
  if (top === 'classic-level' || top === 'abstract-level') return 'binding of LevelDB'
  return part.startsWith('node:') || part.startsWith('(') ? 'Node' : 'other packages'
}

/** A table of the parts that took at least `least` per cent, most first; empty without profiles. `sum`: what a part counts for. */
export function profileTable (profiles: readonly CpuProfile[], least = 1, sum: (part: string) => string = part => part): string {
  const spent = new Map<string, number>()
  for (const profile of profiles) for (const [part, us] of byPart(profile)) spent.set(sum(part), (spent.get(sum(part)) ?? 0) + us)
  const whole = [...spent.values()].reduce((sum, us) => sum + us, 0)
  const rows = [...spent].map(([part, us]) => ({ part, percent: 100 * us / whole })).filter(({ percent }) => percent >= least)
  return rows.sort((a, b) => b.percent - a.percent).map(({ part, percent }) => `  ${percent.toFixed(1).padStart(5)} %  ${part}`).join('\n')
}

/**
 * A program that stands for Node and has it write profiles into `folder`: a peer starts its server with `process.execPath`, a peer of an earlier
 * commit too, and knows nothing of this.
 */
export class Profiler {
  readonly #folder = mkdtempSync(join(tmpdir(), 'sabethes-profile-'))
  readonly #node = process.execPath
  readonly #profiles = new Map<string, CpuProfile[]>()

  constructor () {
    const stand = join(this.#folder, 'node')
    writeFileSync(stand, `#!/bin/sh\nexec '${this.#node}' --cpu-prof --cpu-prof-dir='${this.#folder}' "$@"\n`)
    chmodSync(stand, 0o755)
    process.execPath = stand
  }

  /** Keeps what the servers that ended since the last call have written, for `peer`. */
  take (peer: string): void {
    for (const file of readdirSync(this.#folder).filter(name => name.endsWith('.cpuprofile'))) {
      const path = join(this.#folder, file)
      const all = this.#profiles.get(peer) ?? []
      all.push(JSON.parse(readFileSync(path, 'utf8')) as CpuProfile)
      this.#profiles.set(peer, all)
      rmSync(path)
    }
  }

  /** What was kept since the last call, as text; then it is forgotten. */
  report (): string {
    const text = [...this.#profiles].map(([peer, profiles]) => `${peer}, own time of its JavaScript threads, by area:\n${profileTable(profiles, 1, areaOf)}\nand by file:\n${profileTable(profiles)}\n`).join('\n')
    this.#profiles.clear()
    return text
  }

  close (): void {
    process.execPath = this.#node
    rmSync(this.#folder, { recursive: true, force: true })
  }
}
