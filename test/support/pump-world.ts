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
  | Disorder

/** What only happens to outputs that come from elsewhere, and to a store that others write. */
type Disorder =
  | { op: 'early' | 'lost' | 'repeat', which: number }
  | { op: 'stale', place: number, by: number }
  | { op: 'fresh' | 'behind' | 'age' | 'sweep' | 'settle' }

const device = fc.nat({ max: 1 })
const filter = fc.nat({ max: filters.length - 1 })
export const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ op: fc.constant('commit' as const), place: fc.nat({ max: places.length - 1 }), own: fc.boolean(), late: fc.boolean() }) },
  { weight: 8, arbitrary: fc.record({ op: fc.constant('ack' as const), device, which: fc.nat({ max: 5 }) }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constantFrom('connect' as const, 'lose' as const, 'leave' as const, 'slow' as const, 'drain' as const), device }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constantFrom('subscribe' as const, 'unsubscribe' as const), device, filter }) },
  { weight: 5, arbitrary: fc.record({ op: fc.constantFrom('hold' as const, 'release' as const, 'late' as const, 'turn' as const, 'turn' as const, 'flush' as const, 'trim' as const) }) }
)

/** The same, and outputs that are lost, doubled or out of order, and reads that are older than what was heard. */
export const disorderlyStep: fc.Arbitrary<Step> = fc.oneof(
  { weight: 12, arbitrary: step },
  // Mostly of two logs, so that much happens to one.
  { weight: 8, arbitrary: fc.record({ op: fc.constant('commit' as const), place: fc.constantFrom(0, 3), own: fc.boolean(), late: fc.boolean() }) },
  { weight: 8, arbitrary: fc.record({ op: fc.constantFrom('early' as const, 'early' as const, 'lost' as const, 'repeat' as const), which: fc.nat({ max: 3 }) }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('stale' as const), place: fc.constantFrom(0, 3, 5), by: fc.integer({ min: 1, max: 4 }) }) },
  { weight: 8, arbitrary: fc.record({ op: fc.constantFrom('settle' as const, 'settle' as const, 'turn' as const, 'sweep' as const, 'fresh' as const) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constantFrom('behind' as const, 'age' as const, 'late' as const) }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constantFrom('subscribe' as const, 'unsubscribe' as const), device: fc.constant(0), filter: fc.constantFrom(0, 2) }) }
)

/** So late may outputs come in a disorderly world, milliseconds. */
const lateMs = 60_000

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

/** By which streams bob's devices read it. */
function namesOf (output: Output): [string, ...string[]] {
  if (output.kind === 'event') return [`e:${output.user}`]
  if (output.kind !== 'message') throw new Error(`${output.kind} is not an entry of a log`)
  return output.conv.startsWith('g:') && output.from === 'bob' ? [output.conv, 'o' + output.conv.slice(1)] : [output.conv]
}

function numberOf (output: Output): number { return 'seq' in output ? output.seq ?? 0 : 0 }

/** What is said in place of an output that was lost. */
export function behind (output: Output): Output {
  if (output.kind === 'event') return { kind: 'behind', log: `e:${output.user}`, after: output.seq - 1, upTo: output.seq, senders: [] }
  if (output.kind !== 'message') throw new Error(`${output.kind} is not an entry of a log`)
  return { kind: 'behind', log: output.conv, after: output.seq - 1, upTo: output.seq, senders: [output.from] }
}

export class World {
  readonly bench: Bench
  readonly devices: Device[]
  readonly #starts = new Map<string, number>()
  readonly #unheard: Output[] = []
  /** What was said and may be said again. */
  #said: Output[] = []
  readonly #lost: Output[] = []
  /** Streams of which all devices have heard. */
  readonly #known = new Set<string>()
  #aheadMs = 0

  /** `kinds`: what bob's devices listen with. `disorderly`: outputs may come late, twice or never. */
  constructor (kinds: readonly [DeviceKind, DeviceKind], disorderly = false) {
    const steady = (): number => performance.now() + this.#aheadMs
    this.bench = bench(undefined, { inflight: 5 }, undefined, [], undefined, false, steady, undefined, disorderly ? { lateMs } : {})
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
      case 'early':
      case 'lost':
      case 'repeat':
      case 'stale':
      case 'fresh':
      case 'behind':
      case 'age':
      case 'sweep':
      case 'settle': return this.#disorder(step)
    }
    if (step.op !== 'ack') this.#known.clear()
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

  #disorder (step: Disorder): void {
    const { engine, access } = this.bench
    switch (step.op) {
      case 'early': return this.#say(this.#unheard.splice(step.which % Math.max(1, this.#unheard.length), 1))
      case 'lost':
        this.#lost.push(...this.#unheard.splice(step.which % Math.max(1, this.#unheard.length), 1))
        return
      case 'repeat': return engine.output(this.#said.slice(-1 - step.which).slice(0, 1))
      case 'stale':
        engine.lag.set(places[step.place] as string, step.by)
        return
      case 'fresh':
        engine.lag.clear()
        return
      case 'behind': return this.#repair()
      case 'age': return this.#grow()
      case 'settle':
        for (const device of this.devices) {
          device.collect()
          while (device.open.length > 0) device.ack(0)
        }
        return access.pump.cursors.flush()
      case 'sweep':
        access.sessions.sweep(performance.now())
        for (const { client } of this.devices) if (client instanceof CollectingClient) client.sweep()
    }
  }

  /** What was lost is noticed in time, and what has become old is not said any more. */
  #grow (): void {
    this.#lost.push(...this.#unheard.splice(0))
    this.#repair()
    this.#said = []
    this.#known.clear()
    for (let round = 0; round < 2; round++) {
      this.#aheadMs += lateMs
      this.bench.access.pump.trim()
    }
  }

  #repair (): void { this.bench.engine.output(this.#lost.splice(0).map(output => behind(output))) }

  /** What is on disk and was not said yet; it is said in its order. */
  #heard (): void { this.#say(this.#unheard.splice(0)) }

  #say (outputs: Output[]): void {
    const { engine } = this.bench
    for (const output of outputs) {
      const [log, ...names] = namesOf(output)
      // Who has heard nothing of a log for a while sees no gap: it is told of it in time.
      const open = [...this.#lost, ...this.#unheard].filter(one => namesOf(one)[0] === log && numberOf(one) < numberOf(output))
      if (open.some(one => namesOf(one).some(name => !this.#known.has(name)))) engine.output(open.map(one => behind(one)))
      engine.output([output])
      this.#said.push(output)
      for (const name of [log, ...names]) this.#known.add(name)
    }
  }

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
    this.do({ op: 'fresh' })
    this.#repair()
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
      this.do({ op: 'sweep' })
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
