/** GET /metrics: what the server measures of itself, as Prometheus reads it (text format 0.0.4). */
import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { Registry } from 'prom-client'
import { Refusal } from '../errors.ts'
import type { HistogramData } from '../histogram.ts'
import { measureKinds, type MeasureName } from '../link/measure-names.ts'
import type { Measure } from '../link/measures.ts'
import { isLoopback } from '../network.ts'
import type { Routes } from './app.ts'

export interface Metrics {
  /** What readers show as their bearer token; '': none, and only this machine reads. */
  token: string
  /** All that is measured. */
  measures (): Promise<Measure[]>
}

type Client = typeof import('prom-client')

export function metricsRoutes (metrics: Metrics): Routes {
  let page: Promise<Page> | undefined
  return app => {
    app.get('/metrics', async ({ raw }, reply) => {
      checkReader(metrics, raw)
      // Loaded by those who are asked.
      page ??= Page.make()
      const { type, text } = await (await page).write(await metrics.measures())
      return await reply.type(type).send(text)
    })
  }
}

/** Throws `Refusal`. A proxy on this machine asks for others: it says so in its headers. */
function checkReader ({ token }: Metrics, { headers, socket }: IncomingMessage): void {
  if (token !== '') {
    const shown = /^Bearer +(\S+)$/i.exec(headers.authorization ?? '')?.[1]
    if (shown === undefined || !isSame(shown, token)) throw new Refusal('unauthorized', 'metrics.token is needed, as a bearer token')
    return
  }
  const forwarded = headers.forwarded ?? headers['x-forwarded-for'] ?? headers.via
  if (forwarded !== undefined || !isLoopback(socket.remoteAddress ?? '')) throw new Refusal('forbidden', 'only this machine reads metrics unless metrics.token is set')
}

function isSame (a: string, b: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest()
  return timingSafeEqual(digest(a), digest(b))
}

class Page {
  readonly #registry: Registry
  readonly #measured: Measured[]

  static async make (): Promise<Page> { return new Page((await import('prom-client')).default) }

  private constructor ({ Registry, collectDefaultMetrics }: Client) {
    this.#registry = new Registry()
    // Its observers of the event loop and of the collector are the process's: nothing of them waits or holds it.
    collectDefaultMetrics({ register: this.#registry })
    this.#measured = (Object.keys(measureKinds) as MeasureName[]).map(name => new Measured(name))
    // What it asks of a metric is a name and `get`: counts that are kept elsewhere need no second place.
    for (const one of this.#measured) this.#registry.registerMetric(one as never)
  }

  async write (measures: readonly Measure[]): Promise<{ type: string, text: string }> {
    for (const one of this.#measured) one.take(measures)
    return { type: this.#registry.contentType, text: await this.#registry.metrics() }
  }
}

interface Line { metricName: string, labels: Record<string, string | number>, value: number }

/** Values of one name. */
class Measured {
  readonly name: MeasureName
  #lines: Line[] = []

  constructor (name: MeasureName) { this.name = name }

  take (measures: readonly Measure[]): void {
    this.#lines = measures.filter(({ name }) => name === this.name).flatMap(({ labels = {}, value }) => typeof value === 'number' ? [{ metricName: this.name, labels, value }] : lines(this.name, value))
  }

  get (): { name: string, help: string, type: string, values: Line[], aggregator: string } {
    return { name: this.name, ...measureKinds[this.name], values: this.#lines, aggregator: 'sum' }
  }
}

/** Buckets are told summed up, the last one without an end. */
function lines (name: string, { bounds, counts, sum }: HistogramData): Line[] {
  let total = 0
  const buckets = counts.map((count, i) => {
    total += count
    return { metricName: `${name}_bucket`, labels: { le: bounds[i] ?? '+Inf' }, value: total }
  })
  return [...buckets, { metricName: `${name}_sum`, labels: {}, value: sum }, { metricName: `${name}_count`, labels: {}, value: total }]
}
