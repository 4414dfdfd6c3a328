/**
 * Random commits, acknowledgements, reconnects, subscriptions, slow sockets and answers of the engine that come late, and devices that hold
 * delivery to what it promises: within one connection each message once and in order, no cursor past a message that was not
 * acknowledged, and in the end nothing missing.
 */
import fc from 'fast-check'
import type { Output } from '../../broker/link/port.ts'
import { CollectingClient } from './collecting-client.ts'
import { bench, settled, type Bench, type Got, type MemoryClient } from './memory-client.ts'

/** What a device listens with. */
export type DeviceKind = 'mqtt' | 'collecting'

const filters = ['im/u/bob/inbox', 'im/u/bob/event', 'im/g/+', 'im/g/one'] as const
const places = ['d:alice:bob', 'd:bob:carol', 'd:bob:bob', 'g:one', 'g:two', 'e:bob'] as const
const text = 'x'.repeat(15_000)

export type Step =
  | { op: 'commit', place: number, own: boolean, late: boolean }
  | { op: 'ack', device: number, which: number }
  | { op: 'connect' | 'lose' | 'leave' | 'slow' | 'drain', device: number }
  | { op: 'subscribe' | 'unsubscribe', device: number, filter: number }
  | { op: 'hold' | 'release' | 'late' | 'turn' | 'flush' | 'trim' }

const device = fc.nat({ max: 1 })
const filter = fc.nat({ max: filters.length - 1 })
export const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ op: fc.constant('commit' as const), place: fc.nat({ max: places.length - 1 }), own: fc.boolean(), late: fc.boolean() }) },
  { weight: 8, arbitrary: fc.record({ op: fc.constant('ack' as const), device, which: fc.nat({ max: 5 }) }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constantFrom('connect' as const, 'lose' as const, 'leave' as const, 'slow' as const, 'drain' as const), device }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constantFrom('subscribe' as const, 'unsubscribe' as const), device, filter }) },
  { weight: 5, arbitrary: fc.record({ op: fc.constantFrom('hold' as const, 'release' as const, 'late' as const, 'turn' as const, 'turn' as const, 'flush' as const, 'trim' as const) }) }
)

/** A device of bob: what its connection was sent, and what it acknowledged ever. */
class Device {
  readonly session: string
  readonly #clientId: string
  readonly #bench: Bench
  readonly #kind: DeviceKind
  client: MemoryClient | CollectingClient | undefined
  /** All that it got, in order: stream, number, and whether it was sent again. */
  readonly log: string[] = []
  readonly received = new Map<string, Set<number>>()
  readonly acked = new Map<string, Set<number>>()
  #newest = new Map<string, number>()
  open: Array<{ id: number, stream: string, seq: number }> = []

  constructor (bench: Bench, kind: DeviceKind, clientId: string) {
    this.#bench = bench
    this.#kind = kind
    this.#clientId = clientId
    this.session = `bob/${clientId}`
  }

  get connected (): boolean { return this.client !== undefined && !this.client.closed }

  connect (): void {
    this.#newest = new Map()
    this.open = []
    const { access, engine, client } = this.#bench
    this.client = this.#kind === 'mqtt' ? client() : new CollectingClient(access, engine)
    this.client.hello('bob', { clean: false, clientId: this.#clientId })
  }

  collect (): void { for (const packet of this.client?.take() ?? []) this.#take(packet) }

  #take (packet: Got): void {
    const { conv, seq } = JSON.parse(packet.payload.toString()) as { conv: string, seq: number }
    const stream = packet.topic === 'im/u/bob/inbox' && conv.startsWith('g:') ? 'o' + conv.slice(1) : conv
    const newest = this.#newest.get(stream) ?? 0
    if (seq <= newest) throw new Error(`${this.session}: ${stream} ${seq} after ${newest} on one connection`)
    this.#newest.set(stream, seq)
    const id = packet.messageId as number
    if (this.open.some(one => one.id === id)) throw new Error(`${this.session}: packet id ${id} is in use`)
    this.open.push({ id, stream, seq })
    note(this.received, stream, seq)
    this.log.push(`${packet.topic} ${stream} ${seq} ${packet.dup ? 'again' : ''} ${packet.payload.length}`)
  }

  ack (which: number): void {
    const [one] = this.open.splice(which % Math.max(1, this.open.length), 1)
    if (one === undefined || !this.connected) return
    note(this.acked, one.stream, one.seq)
    this.client?.ack({ messageId: one.id })
  }
}

function note (map: Map<string, Set<number>>, stream: string, seq: number): void {
  const seqs = map.get(stream)
  if (seqs === undefined) map.set(stream, new Set([seq]))
  else seqs.add(seq)
}

export class World {
  readonly bench: Bench = bench(undefined, { inflight: 5 })
  readonly devices: Device[]
  readonly #starts = new Map<string, number>()
  readonly #unheard: Output[] = []

  /** `kinds`: what bob's devices listen with. */
  constructor (kinds: readonly [DeviceKind, DeviceKind]) {
    this.devices = [new Device(this.bench, kinds[0], 'phone'), new Device(this.bench, kinds[1], 'tablet')]
    const { engine } = this.bench
    engine.join('one', 'alice', 'bob')
    engine.join('two', 'alice', 'bob')
    const advance = engine.advance.bind(engine)
    const started = this.#starts
    engine.advance = moves => {
      for (const { session, stream, seq, begins } of moves) if (begins === true) started.set(`${session} ${stream}`, seq)
      advance(moves)
    }
  }

  do (step: Step): void {
    const { engine, access } = this.bench
    switch (step.op) {
      case 'commit': {
        const place = places[step.place] as string
        if (!step.late) this.#heard()
        this.#unheard.push(engine.append(place, step.own || place.startsWith('e:') ? 'bob' : 'alice', text))
        if (!step.late) this.#heard()
        return
      }
      case 'hold':
        engine.holding.add('streams').add('read')
        return
      case 'release':
        if (engine.held[0] !== undefined) engine.held[0].asked()
        return
      case 'late':
        engine.holding.clear()
        for (const held of [...engine.held]) held.now()
        return
      case 'turn':
        this.#heard()
        return
      case 'flush':
        access.pump.cursors.flush()
        return
      case 'trim':
        access.pump.trim()
        return
    }
    const device = this.devices[step.device] as Device
    if (step.op === 'connect') return device.connect()
    const { client } = device
    if (client === undefined || !device.connected) return
    switch (step.op) {
      case 'ack': return device.ack(step.which)
      case 'lose': return client.lose()
      case 'leave': return client.leave()
      case 'slow':
        client.transport.slow = true
        return
      case 'drain':
        client.transport.slow = false
        return client.transport.drain()
      case 'subscribe':
      case 'unsubscribe': return client.ask(step.op, [filters[step.filter] as string])
    }
  }

  /** What is on disk and was not said yet; it is said in its order. */
  #heard (): void { this.bench.engine.output(this.#unheard.splice(0)) }

  check (): void {
    for (const device of this.devices) {
      device.collect()
      for (const [key, { seq: cursor }] of this.bench.engine.cursors) {
        const [session, stream = ''] = key.split(' ')
        if (session !== device.session) continue
        for (let seq = (this.#starts.get(key) ?? 0) + 1; seq <= cursor; seq++) {
          if (this.#wanted(stream, seq) && device.acked.get(stream)?.has(seq) !== true) throw new Error(`${key}: the cursor ${cursor} is past ${seq}`)
        }
      }
    }
  }

  #wanted (stream: string, seq: number): boolean {
    return !stream.startsWith('o:') || this.bench.engine.log('g' + stream.slice(1))[seq - 1]?.from === 'bob'
  }

  async finish (): Promise<void> {
    const { engine } = this.bench
    this.do({ op: 'late' })
    this.#heard()
    // What clients said before, a DISCONNECT among it, may have waited.
    for (const device of this.devices) this.do({ op: 'drain', device: this.devices.indexOf(device) })
    await settled(engine)
    for (const device of this.devices) {
      if (!device.connected) device.connect()
      await settled(engine)
      device.client?.ask('subscribe', ['im/u/bob/#'])
      device.client?.ask('subscribe', ['im/g/+'])
    }
    for (let quiet = 0; quiet < 3;) {
      await settled(engine)
      this.check()
      quiet = this.devices.every(device => device.open.length === 0) ? quiet + 1 : 0
      for (const device of this.devices) while (device.open.length > 0) device.ack(0)
    }
    for (const device of this.devices) {
      for (const stream of places) {
        const start = this.#starts.get(`${device.session} ${stream}`) ?? 0
        for (let seq = start + 1; seq <= engine.log(stream).length; seq++) {
          if (device.received.get(stream)?.has(seq) !== true) throw new Error(`${device.session} never got ${stream} ${seq} (started after ${start})`)
        }
      }
    }
    for (const device of this.devices) device.client?.lose()
    await settled(engine)
    const { access } = this.bench
    if (access.sessions.connected.size + access.sessions.connections.size + access.pump.groups.scans.size + access.pump.countOf('bob') !== 0) throw new Error('something is left')
  }
}
