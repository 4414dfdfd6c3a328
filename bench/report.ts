/** Medians, spreads and ratios of what was measured, as a table, as Markdown and as JSON. */
import { cpus, release } from 'node:os'
import { probeDisk } from './disk.ts'
import type { Disk } from './disk.ts'
import { median } from './meter.ts'
import type { Round, Scenario, Settings } from './scenarios/scenario.ts'

/** The peer that ratios are of, where a scenario names no other. */
export const usualReference = 'mosquitto'

export interface Figure { median: number, min: number, max: number }

export interface PeerResult {
  peer: string
  rounds: Round[]
  /** Of the rounds that are not void. */
  figures: Record<string, Figure>
  /** Median of this peer by the median of the reference, a metric each. */
  ratios: Record<string, number>
  brokerCpu?: Figure
  generatorCpu?: Figure
  foreignCpu?: Figure
  foreignGeneratorCpu?: Figure
  faults: string[]
  limits: string[]
}

export interface ScenarioResult {
  scenario: string
  description: string
  headline: string
  better: 'higher' | 'lower'
  /** The peer that ratios are of. */
  reference: string
  peers: PeerResult[]
  skipped: Record<string, string>
}

export interface Report {
  machine: { cpu: string, cores: number, kernel: string, node: string, disk: Disk }
  startedAt: string
  settings: Settings
  scenarios: ScenarioResult[]
}

export function machine (): Report['machine'] {
  const all = cpus()
  return { cpu: all[0]?.model ?? 'unknown', cores: all.length, kernel: release(), node: process.version, disk: probeDisk() }
}

function figure (values: readonly number[]): Figure | undefined {
  const known = values.filter(value => !Number.isNaN(value))
  if (known.length === 0) return undefined
  return { median: median(known), min: Math.min(...known), max: Math.max(...known) }
}

/** Puts the rounds of every peer together. */
export function summarise (scenario: Scenario, settings: Settings, rounds: ReadonlyMap<string, Round[]>, skipped: Record<string, string>): ScenarioResult {
  const peers = [...rounds].map(([peer, all]): PeerResult => {
    const valid = all.filter(round => round.fault === undefined)
    const figures: Record<string, Figure> = {}
    for (const metric of new Set(valid.flatMap(round => Object.keys(round.metrics)))) {
      const one = figure(valid.map(round => round.metrics[metric] ?? Number.NaN))
      if (one !== undefined) figures[metric] = one
    }
    const usageOf = (key: 'brokerCpu' | 'generatorCpu' | 'foreignCpu' | 'foreignGeneratorCpu') => {
      const one = figure(valid.map(round => round.usage?.[key] ?? Number.NaN))
      return one === undefined ? {} : { [key]: one }
    }
    return {
      peer,
      rounds: all,
      figures,
      ratios: {},
      ...usageOf('brokerCpu'),
      ...usageOf('generatorCpu'),
      ...usageOf('foreignCpu'),
      ...usageOf('foreignGeneratorCpu'),
      faults: all.flatMap(round => round.fault ?? []),
      limits: valid.flatMap(round => round.limit ?? [])
    }
  })
  const { reference = usualReference } = scenario
  const base = peers.find(result => result.peer === reference)
  for (const result of peers) {
    for (const [metric, { median }] of Object.entries(result.figures)) {
      const to = base?.figures[metric]?.median
      if (to !== undefined && to !== 0) result.ratios[metric] = median / to
    }
  }
  return {
    scenario: scenario.name,
    description: scenario.describe(settings),
    headline: scenario.headline,
    better: scenario.better,
    reference,
    peers,
    skipped
  }
}

function value (number: number): string {
  const size = Math.abs(number)
  if (size >= 1000) return Math.round(number).toLocaleString('en-US')
  return number.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : 2)
}

function span (one: Figure): string { return `${value(one.min)}–${value(one.max)}` }

function percent (one: Figure | undefined): string { return one === undefined ? '' : `${Math.round(one.median * 100)} %` }

/** Rows of a scenario: peer, metric, median, spread, ratio, and on the headline's row the processors. */
function rows (result: ScenarioResult): string[][] {
  const out: string[][] = []
  for (const peer of result.peers) {
    const metrics = Object.keys(peer.figures).sort((a, b) => Number(b === result.headline) - Number(a === result.headline))
    if (metrics.length === 0) out.push([peer.peer, 'VOID', '', '', '', '', '', ''])
    for (const [index, metric] of metrics.entries()) {
      const one = peer.figures[metric] as Figure
      const ratio = peer.ratios[metric]
      out.push([
        index === 0 ? peer.peer : '',
        metric,
        value(one.median),
        peer.rounds.length > 1 ? span(one) : '',
        ratio === undefined ? '' : ratio.toFixed(2),
        ...(index === 0 ? [percent(peer.brokerCpu), percent(peer.generatorCpu), percent(peer.foreignCpu)] : ['', '', ''])
      ])
    }
  }
  return out
}

function head ({ reference }: ScenarioResult): string[] {
  return ['peer', 'metric', 'median', 'min–max', `of ${reference}`, 'broker', 'generator', 'others']
}

/** What a reader must know beside the numbers. */
function remarks (result: ScenarioResult): string[] {
  const out: string[] = []
  for (const peer of result.peers) {
    for (const fault of new Set(peer.faults)) out.push(`VOID: ${peer.peer}: ${fault}`)
    if (peer.limits.length > 0) out.push(`GENERATOR LIMIT: ${peer.peer} (${peer.limits.length} of ${peer.rounds.length} rounds): ${peer.limits[0]}`)
    const others = Math.max(peer.foreignCpu?.max ?? 0, peer.foreignGeneratorCpu?.max ?? 0)
    if (others >= 0.05) out.push(`Other programs took up to ${Math.round(others * 100)} % of a core while ${peer.peer} ran: the figures are noisy`)
  }
  for (const [peer, why] of Object.entries(result.skipped)) out.push(`SKIPPED: ${peer}: ${why}`)
  return out
}

/** A table for people. */
export function table (result: ScenarioResult): string {
  const titles = head(result)
  const lines = [titles, ...rows(result)]
  const widths = titles.map((_, column) => Math.max(...lines.map(line => (line[column] as string).length)))
  const line = (cells: string[]) => cells.map((cell, column) => {
    const width = widths[column] as number
    return column < 2 ? cell.padEnd(width) : cell.padStart(width)
  }).join('  ').trimEnd()
  return [
    `${result.scenario}: ${result.description}`,
    ...lines.map(cells => '  ' + line(cells)),
    ...remarks(result).map(text => '  ' + text)
  ].join('\n')
}

/** All tables for bench/README.md. */
export function markdown (report: Report): string {
  const { cpu, cores, kernel, node, disk } = report.machine
  const { rounds, seconds } = report.settings
  const out = [`${report.startedAt.slice(0, 10)}, ${cpu}, ${cores} cores, Linux ${kernel}, Node ${node}, ${disk.syncMs.toFixed(2)} ms a synced write${disk.inMemory ? ' (IN MEMORY)' : ''}; ${rounds} rounds of ${seconds} s.`]
  for (const result of report.scenarios) {
    out.push('', `### ${result.scenario}`, '', `${result.description}.`, '')
    const titles = head(result)
    out.push(`| ${titles.join(' | ')} |`, `|${titles.map((_, column) => column < 2 ? '---' : '---:').join('|')}|`)
    for (const cells of rows(result)) out.push(`| ${cells.join(' | ')} |`)
    const notes = remarks(result)
    if (notes.length > 0) out.push('', ...notes.map(text => `- ${text}`))
  }
  return out.join('\n')
}
