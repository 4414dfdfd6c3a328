/** `$SYS/…`: what the server says of itself to those who run it, by the names that brokers have for it. Live: nothing of it is stored. */
import { contains } from './open-topics.ts'

interface Teller { tell (topic: string, payload: Uint8Array, how?: { retained?: boolean, identifier?: number | undefined }): void }

/** A connected session; those that subscribe are told. */
interface SysReader {
  readonly session: { readonly user: string, readonly crowded: boolean, readonly interest: { readonly sys: readonly string[][] } }
  readonly connection: { readonly sink: Teller | undefined }
}

export interface SysOptions {
  /** Time between two looks; 0: nobody may read. */
  intervalSeconds: number
  mayRead (user: string): boolean
}

/** What the numbers are of. */
export interface SysSources {
  readonly version: string
  readonly connected: { readonly size: number, values (): Iterable<SysReader> }
  readonly traffic: { readonly received: number, readonly sent: number, readonly bytesReceived: number, readonly bytesSent: number }
  /** Absent when no ordinary topic is open. */
  readonly ordinary: { counts (): { retained: number, queuedBytes: number, dropped: number } } | undefined
}

export class SysTopics {
  readonly #options: SysOptions
  readonly #sources: SysSources
  readonly #startedAt = performance.now()
  /** As they were told last. */
  #told = new Map<string, string>()
  readonly #timer: NodeJS.Timeout | undefined

  constructor (options: SysOptions, sources: SysSources) {
    this.#options = options
    this.#sources = sources
    if (options.intervalSeconds > 0) this.#timer = setInterval(() => { this.#look() }, options.intervalSeconds * 1000).unref()
  }

  mayRead (user: string): boolean { return this.#options.intervalSeconds > 0 && this.#options.mayRead(user) }

  /** Tells all that a filter matches, as retained messages. */
  tellAll (sink: Teller | undefined, filter: string, identifier: number | undefined): void {
    const levels = filter.split('/')
    for (const [topic, value] of this.#values()) {
      if (!contains(levels, topic.split('/'))) continue
      sink?.tell(topic, Buffer.from(value), { retained: true, identifier })
      // It may be at the next look what it was at the last one, of which this reader has not heard.
      if (this.#told.get(topic) !== value) this.#told.delete(topic)
    }
  }

  /** Tells those who read it what has changed. */
  #look (): void {
    // A stored subscription may be of a time when its user might read more. Who takes nothing has the next ones.
    const readers: SysReader[] = []
    for (const one of this.#sources.connected.values()) {
      const { session } = one
      if (session.interest.sys.length > 0 && !session.crowded && this.mayRead(session.user)) readers.push(one)
    }
    if (readers.length === 0) return
    const values = this.#values()
    const changed = [...values].filter(([topic, value]) => this.#told.get(topic) !== value)
    this.#told = values
    for (const [topic, value] of changed) {
      const [levels, payload] = [topic.split('/'), Buffer.from(value)]
      for (const { session, connection } of readers) if (session.interest.sys.some(filter => contains(filter, levels))) connection.sink?.tell(topic, payload)
    }
  }

  #values (): Map<string, string> {
    const { version, connected, traffic, ordinary } = this.#sources
    const counts = ordinary?.counts() ?? { retained: 0, queuedBytes: 0, dropped: 0 }
    const values: Record<string, string | number> = {
      version: `sabethes ${version}`,
      uptime: `${Math.floor((performance.now() - this.#startedAt) / 1000)} seconds`,
      'clients/connected': connected.size,
      'messages/received': traffic.received,
      'messages/sent': traffic.sent,
      'bytes/received': traffic.bytesReceived,
      'bytes/sent': traffic.bytesSent,
      'retained messages/count': counts.retained,
      'store/messages/bytes': counts.queuedBytes,
      'publish/messages/dropped': counts.dropped,
      'heap/current': process.memoryUsage().heapUsed
    }
    return new Map(Object.entries(values).map(([name, value]) => [`$SYS/broker/${name}`, String(value)]))
  }

  close (): void { clearInterval(this.#timer) }
}
