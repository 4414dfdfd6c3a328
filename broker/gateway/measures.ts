/** What the gateway counts for those who run the server. */
import { Histogram } from '../histogram.ts'
import { CountsBy, type Measure } from '../link/measures.ts'
import type { Output } from '../link/port.ts'
import type { Traffic } from './traffic.ts'

/** Ranges of times: the first ends at half a millisecond, the last one begins at 32 s. */
const places = 18
const scale = 2000

/** What is looked at when somebody asks. */
export interface MeasuredGateway {
  readonly traffic: Traffic
  readonly connected: { values (): Iterable<{ readonly session: { readonly behindCount: number }, readonly connection: { readonly sink: { readonly version: number, readonly unsentBytes: number } | undefined } }> }
  readonly sockets: { readonly count: number }
  readonly visits: { readonly count: number }
  readonly pending: { readonly size: number }
  readonly draining: boolean
}

const protocols: Readonly<Record<number, string>> = { 3: 'mqtt3.1', 4: 'mqtt3.1.1', 5: 'mqtt5' }
const stamp = Buffer.from('"ts":')
/** Digits of a time, milliseconds since the epoch, until the year 2286. */
const stampDigits = 13

export class GatewayMeasures {
  readonly refusedConnections = new CountsBy()
  readonly refusedPublishes = new CountsBy()
  readonly #publish = new Histogram(places, scale)
  readonly #delivery = new Histogram(places, scale)

  /** A publish has its answer after so many milliseconds. */
  answered (ms: number): void { this.#publish.add(ms / 1000) }

  /** These outputs have been handed on; `now`: the time of the server. */
  delivered (outputs: readonly Output[], now: number): void {
    const first = outputs.find(output => output.kind === 'message')
    if (first === undefined) return
    // The envelope has its time before its body, and no quotation mark of a value is without a backslash.
    const { payload } = first
    const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength)
    const at = bytes.indexOf(stamp) + stamp.length
    this.#delivery.add((now - Number(bytes.toString('latin1', at, at + stampDigits))) / 1000)
  }

  read ({ traffic, connected, sockets, visits, pending, draining }: MeasuredGateway): Measure[] {
    const byProtocol = new Map(Object.values(protocols).map(protocol => [protocol, 0]))
    let [behind, unsent] = [0, 0]
    for (const { session, connection } of connected.values()) {
      const { version = 0, unsentBytes = 0 } = connection.sink ?? {}
      const protocol = protocols[version] ?? ''
      byProtocol.set(protocol, (byProtocol.get(protocol) ?? 0) + 1)
      behind += session.behindCount
      unsent += unsentBytes
    }
    return [
      ...[...byProtocol].map(([protocol, value]): Measure => ({ name: 'sabethes_connections', labels: { protocol }, value })),
      ...this.refusedConnections.read('sabethes_connections_refused_total', 'code'),
      ...this.refusedPublishes.read('sabethes_publishes_refused_total', 'code'),
      { name: 'sabethes_sockets', value: sockets.count },
      { name: 'sabethes_http_visits', value: visits.count },
      { name: 'sabethes_received_packets_total', value: traffic.received },
      { name: 'sabethes_sent_packets_total', value: traffic.sent },
      { name: 'sabethes_received_bytes_total', value: traffic.bytesReceived },
      { name: 'sabethes_sent_bytes_total', value: traffic.bytesSent },
      { name: 'sabethes_publishes_waiting', value: pending.size },
      { name: 'sabethes_publish_seconds', value: this.#publish.read() },
      { name: 'sabethes_delivery_seconds', value: this.#delivery.read() },
      { name: 'sabethes_streams_behind', value: behind },
      { name: 'sabethes_unsent_bytes', value: unsent },
      { name: 'sabethes_draining', value: draining ? 1 : 0 }
    ]
  }
}
