/** What happened to the processors between two moments, and percentiles of latencies. */
import { readFileSync } from 'node:fs'
import { cpuParts, type BrokerProcess } from './peers/process.ts'

export interface Usage {
  seconds: number
  /** Share of one core, 0 to 1 (above with several threads on several cores). */
  brokerCpu: number
  /** Of the broker's time: the kernel's part, and that of its first thread (a Node program's event loop). */
  systemShare: number
  firstThreadShare: number
  generatorCpu: number
  /** Of the broker's database, where it has one of the bench's own; else NaN. */
  databaseCpu: number
  /** Share of the broker's core that other programs had, and of the generator's. */
  foreignCpu: number
  foreignGeneratorCpu: number
}

export interface Cores { brokerCpu: number | undefined, generatorCpu: number | undefined, databaseCpus: string | undefined }

interface Moment { at: number, broker: number, system: number, first: number, generator: number, database: number, core: number, generatorCore: number }

/** Busy seconds of one core (user, nice, system), or of none when it is not known. */
function coreSeconds (cpu: number | undefined): number {
  const line = cpu === undefined ? undefined : readFileSync('/proc/stat', 'utf8').split('\n').find(text => text.startsWith(`cpu${cpu} `))
  const [user = 0, nice = 0, system = 0] = line?.split(' ').slice(1).map(Number) ?? []
  return (user + nice + system) / 100
}

export class Meter {
  #broker: BrokerProcess
  #database: BrokerProcess | undefined
  #cpus: Cores
  #start: Moment

  constructor (broker: BrokerProcess, cpus: Cores, database?: BrokerProcess) {
    this.#broker = broker
    this.#database = database
    this.#cpus = cpus
    this.#start = this.#now()
  }

  /** Since the construction. */
  read (): Usage {
    const [from, to] = [this.#start, this.#now()]
    const seconds = (to.at - from.at) / 1000
    const broker = to.broker - from.broker
    const generator = to.generator - from.generator
    const database = to.database - from.database
    // On two cores the database has the generator's: that is no other program.
    const beside = this.#cpus.databaseCpus === String(this.#cpus.generatorCpu) ? database : 0
    return {
      seconds,
      brokerCpu: broker / seconds,
      systemShare: (to.system - from.system) / broker,
      firstThreadShare: (to.first - from.first) / broker,
      generatorCpu: generator / seconds,
      databaseCpu: this.#database === undefined ? Number.NaN : database / seconds,
      foreignCpu: this.#cpus.brokerCpu === undefined ? 0 : Math.max(0, to.core - from.core - broker) / seconds,
      foreignGeneratorCpu: this.#cpus.generatorCpu === undefined ? 0 : Math.max(0, to.generatorCore - from.generatorCore - generator - beside) / seconds
    }
  }

  #now (): Moment {
    const { user, system } = process.cpuUsage()
    return {
      at: performance.now(),
      broker: this.#broker.cpuSeconds(),
      ...cpuParts(this.#broker.pid),
      generator: (user + system) / 1e6,
      database: this.#database?.cpuSeconds() ?? 0,
      core: coreSeconds(this.#cpus.brokerCpu),
      generatorCore: coreSeconds(this.#cpus.generatorCpu)
    }
  }
}

/** Latencies of one measurement, milliseconds. */
export class Latencies {
  #values: Float64Array
  count = 0

  constructor (capacity: number) { this.#values = new Float64Array(capacity) }

  add (ms: number): void {
    if (this.count === this.#values.length) {
      const larger = new Float64Array(this.#values.length * 2)
      larger.set(this.#values)
      this.#values = larger
    }
    this.#values[this.count++] = ms
  }

  /** Metrics `{name}_p50_ms`, p99, p99.9 and max. */
  summary (name: string): Record<string, number> {
    const sorted = this.#values.subarray(0, this.count).slice().sort()
    const rank = (share: number) => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN
    return {
      [`${name}_p50_ms`]: rank(0.5),
      [`${name}_p99_ms`]: rank(0.99),
      [`${name}_p99.9_ms`]: rank(0.999),
      [`${name}_max_ms`]: rank(1)
    }
  }
}

export function median (values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle] as number : ((sorted[middle - 1] ?? Number.NaN) + (sorted[middle] ?? Number.NaN)) / 2
}

export function wait (ms: number): Promise<void> { return new Promise(resolve => setTimeout(resolve, ms)) }
