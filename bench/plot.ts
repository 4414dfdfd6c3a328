/** Latency against offered load as an SVG: both axes logarithmic, p99 a line, p50 a dashed one, min to max of the rounds a bar. */
import type { ScenarioResult } from './report.ts'

const [width, height] = [760, 440]
const [left, right, top, bottom] = [64, 150, 32, 52]
const colours = ['#b3312c', '#2c6fb3', '#3b8f4a', '#8a5fb0']

function ticks (from: number, to: number): number[] {
  const out: number[] = []
  for (let power = Math.floor(Math.log10(from)); power <= Math.ceil(Math.log10(to)); power++) {
    for (const step of [1, 2, 5]) {
      const value = Number((step * 10 ** power).toPrecision(1))
      if (value >= from && value <= to) out.push(value)
    }
  }
  return out
}

/** Draws the result of the scenario `latency`. */
export function plot (result: ScenarioResult): string {
  const lines = result.peers.flatMap((peer, index) => ['p99', 'p50'].map(percentile => ({
    peer: peer.peer,
    percentile,
    colour: colours[index % colours.length] as string,
    points: Object.entries(peer.figures).flatMap(([metric, figure]) => {
      const match = /^(\d+)_puback_(p\d+)_ms$/.exec(metric)
      return match?.[2] === percentile ? [{ rate: Number(match[1]), ...figure }] : []
    }).sort((a, b) => a.rate - b.rate)
  }))).filter(line => line.points.length > 0)
  const points = lines.flatMap(line => line.points)
  if (points.length === 0) throw new Error('the scenario latency has no result to plot')
  const [minRate, maxRate] = [Math.min(...points.map(p => p.rate)), Math.max(...points.map(p => p.rate))]
  const [minMs, maxMs] = [Math.min(...points.map(p => p.min)) / 1.3, Math.max(...points.map(p => p.max)) * 1.3]
  const scale = (value: number, from: number, to: number, start: number, end: number) => {
    const share = to > from ? Math.log(value / from) / Math.log(to / from) : 0.5
    return Number((start + share * (end - start)).toFixed(1))
  }
  const x = (rate: number) => scale(rate, minRate, maxRate, left, width - right)
  const y = (ms: number) => scale(ms, minMs, maxMs, height - bottom, top)
  const out = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">`,
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    `<text x="${left}" y="18" font-size="14">PUBACK latency against offered load (QoS 1)</text>`
  ]
  for (const rate of ticks(minRate, maxRate)) {
    out.push(`<path d="M${x(rate)} ${top}V${height - bottom}" stroke="#ddd"/>`)
    out.push(`<text x="${x(rate)}" y="${height - bottom + 18}" text-anchor="middle">${rate.toLocaleString('en-US')}</text>`)
  }
  for (const ms of ticks(minMs, maxMs)) {
    out.push(`<path d="M${left} ${y(ms)}H${width - right}" stroke="#ddd"/>`)
    out.push(`<text x="${left - 8}" y="${y(ms) + 4}" text-anchor="end">${ms}</text>`)
  }
  out.push(`<text x="${(left + width - right) / 2}" y="${height - 14}" text-anchor="middle">messages/s</text>`)
  out.push(`<text transform="translate(16 ${height / 2}) rotate(-90)" text-anchor="middle">ms</text>`)
  lines.forEach(({ peer, percentile, colour, points }, index) => {
    const dash = percentile === 'p50' ? ' stroke-dasharray="5 4"' : ''
    out.push(`<path d="M${points.map(p => `${x(p.rate)} ${y(p.median)}`).join('L')}" fill="none" stroke="${colour}" stroke-width="2"${dash}/>`)
    for (const p of points) out.push(`<path d="M${x(p.rate)} ${y(p.min)}V${y(p.max)}" stroke="${colour}" opacity="0.5"/>`)
    const at = top + 14 + index * 20
    out.push(`<path d="M${width - right + 14} ${at}h24" stroke="${colour}" stroke-width="2"${dash}/>`)
    out.push(`<text x="${width - right + 44}" y="${at + 4}">${peer} ${percentile}</text>`)
  })
  return out.join('\n') + '\n</svg>\n'
}
