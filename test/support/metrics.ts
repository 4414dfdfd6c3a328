/** Reads the text format of Prometheus, strictly (https://prometheus.io/docs/instrumenting/exposition_formats/). */
import { measureKinds, type MeasureKind } from '../../broker/link/measure-names.ts'

export interface Metric { type: string, help: string, values: Map<string, number> }

const line = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\"n])*",?)*)\})? (\S+)$/

/** By name; of each the values by what stands behind the name (`{code="…"}`, or `_count` and the like). Throws for what is not the format. */
export function readMetrics (text: string): Map<string, Metric> {
  const metrics = new Map<string, Metric>()
  for (const row of text.trimEnd().split('\n')) {
    const [, kind, name = '', rest = ''] = /^# (HELP|TYPE) (\S+) (.*)$/.exec(row) ?? []
    if (kind === 'HELP') {
      if (metrics.has(name)) throw new Error(`${name} is there twice`)
      metrics.set(name, { type: '', help: rest, values: new Map() })
    } else if (kind === 'TYPE') {
      const metric = metrics.get(name)
      if (metric === undefined || metric.type !== '' || metric.values.size > 0) throw new Error(`a TYPE out of its place: ${row}`)
      metric.type = rest
    } else if (row !== '') {
      const [, full = '', labels, value = ''] = line.exec(row) ?? []
      const metric = metrics.get(full) ?? metrics.get(full.replace(/_(bucket|sum|count)$/, ''))
      const number = Number(value.replace('Inf', 'Infinity'))
      // `Nan` is prom-client's spelling; Prometheus takes any.
      if (metric === undefined || metric.type === '' || (Number.isNaN(number) && !/^nan$/i.test(value))) throw new Error(`not a line of the format: ${row}`)
      const key = full.slice([...metrics].find(([, one]) => one === metric)?.[0].length) + (labels === undefined ? '' : `{${labels}}`)
      if (metric.values.has(key)) throw new Error(`${row} is there twice`)
      metric.values.set(key, number)
    }
  }
  return metrics
}

/** The table of docs/metrics.md. */
export function metricsTable (): string {
  const row = ([name, { type, labels = [], help }]: [string, MeasureKind]): string => `| \`${name}\` | ${type} | ${labels.map(label => `\`${label}\``).join(', ')} | ${help} |`
  return ['| Name | Kind | Labels | What |', '|---|---|---|---|', ...Object.entries(measureKinds).map(row)].join('\n') + '\n'
}
