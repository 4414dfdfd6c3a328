/**
 * Workers of one user that share what comes, and whatever may happen to them: commits, acknowledgements in any order, connections that end and
 * come back, subscriptions that change, slow sockets, and answers of the engine that come late. Held to what a share promises: a message is with one
 * connected worker at a time, comes again to nobody when it was acknowledged, no cursor passes one that is neither acknowledged nor listed, and in
 * the end nothing is missing.
 */
import fc from 'fast-check'
import type { IPublishPacket } from 'mqtt-packet'
import type { Output } from '../../broker/link/port.ts'
import { bench, settled, type Bench, type MemoryClient } from './memory-client.ts'

export const shares = ['$share/w/im/u/bob/inbox', '$share/w/im/g/+'] as const
const places = ['d:alice:bob', 'd:bob:carol', 'd:bob:bob', 'g:one', 'g:two'] as const
const receiveMaxima = [1, 3, 5] as const

export type ShareStep =
  | { op: 'commit', place: number, own: boolean, late: boolean }
  | { op: 'ack', worker: number, which: number }
  | { op: 'connect' | 'lose' | 'leave' | 'slow' | 'drain', worker: number }
  | { op: 'subscribe' | 'unsubscribe', worker: number, filter: number }
  | { op: 'hold' | 'release' | 'late' | 'turn' | 'flush' | 'trim' }

const worker = fc.nat({ max: 2 })
const filter = fc.nat({ max: 1 })
export const shareStep: fc.Arbitrary<ShareStep> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ op: fc.constant('commit' as const), place: fc.nat({ max: places.length - 1 }), own: fc.boolean(), late: fc.boolean() }) },
  { weight: 8, arbitrary: fc.record({ op: fc.constant('ack' as const), worker, which: fc.nat({ max: 4 }) }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constantFrom('connect' as const, 'lose' as const, 'leave' as const, 'slow' as const, 'drain' as const), worker }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constantFrom('subscribe' as const, 'subscribe' as const, 'unsubscribe' as const), worker, filter }) },
  { weight: 6, arbitrary: fc.record({ op: fc.constantFrom('hold' as const, 'release' as const, 'late' as const, 'turn' as const, 'turn' as const, 'flush' as const, 'trim' as const) }) }
)

interface Held { id: number, stream: string, seq: number }
interface Worker { readonly clientId: string, client: MemoryClient | undefined, /** it has said goodbye */ left: boolean, /** what it asked for may still be on its way: nothing behind it is read */ asks: boolean, open: Held[] }

export class ShareWorld {
  readonly bench: Bench = bench(undefined, { inflight: 5, shareInflight: 8 })
  readonly workers: Worker[] = [0, 1, 2].map(i => ({ clientId: `w${i}`, client: undefined, left: false, asks: false, open: [] }))
  /** Messages that were dealt a second time after a worker had gone. */
  again = 0
  /** Where a share begins in a stream: by what the cursor is called. */
  readonly #starts = new Map<string, number>()
  /** `true`: the server has read the acknowledgement. */
  readonly #acked = new Map<string, Map<number, boolean>>()
  readonly #received = new Map<string, Set<number>>()
  readonly #unheard: Output[] = []

  constructor () {
    const { engine } = this.bench
    engine.join('one', 'alice', 'bob')
    engine.join('two', 'alice', 'bob')
    const { advance, openSession } = engine
    engine.advance = moves => {
      for (const { session, stream, seq, begins } of moves) if (begins === true) this.#starts.set(`${session} ${stream}`, seq)
      advance.call(engine, moves)
    }
    engine.openSession = async start => {
      const answer = await openSession.call(engine, start)
      if (start.share === true && answer.ok && !answer.value.present) this.#beginsAnew(start.session)
      return answer
    }
  }

  /** What was acknowledged to an earlier share of the name may come again. */
  #beginsAnew (share: string): void {
    const groups = share.endsWith('/im/g/+')
    for (const stream of places) {
      if (stream.startsWith('g:') !== groups) continue
      this.#starts.delete(`${share} ${stream}`)
      this.#acked.delete(stream)
    }
  }

  get connected (): Worker[] { return this.workers.filter(({ client }) => client?.closed === false) }

  connect (at: number): void {
    const one = this.workers[at] as Worker
    one.open = []
    one.left = false
    one.client = this.bench.client({ version: 5 })
    const receiveMaximum = receiveMaxima[at] as number
    // The first one's session is kept.
    one.client.hello('bob', { clean: at > 0, clientId: one.clientId, properties: { receiveMaximum, ...at === 0 && { sessionExpiryInterval: 3600 } } })
  }

  do (step: ShareStep): void {
    const { engine, access } = this.bench
    switch (step.op) {
      case 'commit':
        if (!step.late) this.#heard()
        this.#unheard.push(engine.append(places[step.place] as string, step.own ? 'bob' : 'alice'))
        if (!step.late) this.#heard()
        return
      case 'hold':
        engine.holding.add('streams').add('read').add('openSession').add('closeSession')
        return
      case 'release':
        if (engine.held[0] !== undefined) engine.held[0].asked()
        return
      case 'late':
        engine.holding.clear()
        for (const held of [...engine.held]) held.now()
        return
      case 'turn':
        for (const one of this.workers) one.asks = false
        return this.#heard()
      case 'flush': return access.pump.cursors.flush()
      case 'trim': return access.pump.trim()
      case 'connect': return this.connect(step.worker)
    }
    const one = this.workers[step.worker] as Worker
    const { client } = one
    if (client === undefined || client.closed || (one.left && step.op !== 'drain')) return
    switch (step.op) {
      case 'ack': return this.#ack(one, step.which)
      case 'lose': return client.lose()
      case 'leave':
        one.left = true
        return client.leave()
      case 'slow':
        client.transport.slow = true
        return
      case 'drain':
        client.transport.slow = false
        return client.transport.drain()
      case 'subscribe':
      case 'unsubscribe':
        one.asks = true
        return client.ask(step.op, [shares[step.filter] as string])
    }
  }

  #heard (): void { this.bench.engine.output(this.#unheard.splice(0)) }

  #ack (one: Worker, which: number): void {
    const [held] = one.open.splice(which % Math.max(1, one.open.length), 1)
    if (held === undefined) return
    const { engine } = this.bench
    // A connection that waits for the engine is not read.
    const read = !one.asks && engine.openCalls === 0 && engine.held.length === 0
    mapOf(this.#acked, held.stream).set(held.seq, read)
    one.client?.ack({ messageId: held.id })
  }

  check (): void {
    for (const one of this.workers) for (const packet of one.client?.take() ?? []) this.#take(one, packet)
    const { cursors, sessions } = this.bench.engine
    for (const [key, { seq: cursor }] of cursors) {
      const [session = '', stream = ''] = key.split(' ')
      const listed = sessions.get(session)?.inflight ?? []
      for (let seq = (this.#starts.get(key) ?? 0) + 1; seq <= cursor; seq++) {
        if (!this.#wanted(stream, seq) || this.#acked.get(stream)?.has(seq) === true || listed.some(one => one.stream === stream && one.seq === seq)) continue
        throw new Error(`${key}: the cursor ${cursor} is past ${seq}`)
      }
    }
  }

  #take (one: Worker, packet: IPublishPacket): void {
    const { conv, seq } = JSON.parse(packet.payload.toString()) as { conv: string, seq: number }
    const what = `${one.clientId}: ${conv} ${seq}`
    if (!this.#wanted(conv, seq)) throw new Error(`${what} is the user's own`)
    let known = this.#received.get(conv)
    if (known === undefined) this.#received.set(conv, known = new Set())
    if (known.has(seq)) this.again++
    known.add(seq)
    // What it was sent before it went; others may have had it since.
    if (one.client?.closed === true) return
    if (this.#acked.get(conv)?.get(seq) === true) throw new Error(`${what} was acknowledged`)
    for (const other of this.connected) {
      if (other.open.some(held => held.stream === conv && held.seq === seq)) throw new Error(`${what} is with ${other.clientId}`)
    }
    if (one.open.some(({ id }) => id === packet.messageId)) throw new Error(`${what}: packet id ${packet.messageId} is in use`)
    one.open.push({ id: packet.messageId as number, stream: conv, seq })
    const most = receiveMaxima[this.workers.indexOf(one)] as number
    if (one.open.length > most) throw new Error(`${what}: ${one.open.length} of ${most}`)
  }

  /** What the user said is for nobody, but for what they said to themself. */
  #wanted (conv: string, seq: number): boolean { return conv === 'd:bob:bob' || this.bench.engine.log(conv)[seq - 1]?.from !== 'bob' }

  async finish (): Promise<void> {
    const { access, engine } = this.bench
    this.do({ op: 'late' })
    this.#heard()
    for (const at of [0, 1, 2]) this.do({ op: 'drain', worker: at })
    await settled(engine)
    this.check()
    for (const at of [0, 1, 2]) {
      if (this.workers[at]?.client?.closed !== false) this.connect(at)
      await settled(engine)
      for (const at2 of [0, 1]) this.do({ op: 'subscribe', worker: at, filter: at2 })
    }
    for (let quiet = 0; quiet < 3;) {
      await settled(engine)
      this.check()
      quiet = this.workers.every(({ open }) => open.length === 0) ? quiet + 1 : 0
      for (const one of this.workers) while (one.open.length > 0) this.#ack(one, 0)
    }
    for (const stream of places) {
      const start = this.#starts.get(`bob/${shares[stream.startsWith('g:') ? 1 : 0]} ${stream}`) ?? 0
      for (let seq = start + 1; seq <= engine.log(stream).length; seq++) {
        if (this.#wanted(stream, seq) && this.#received.get(stream)?.has(seq) !== true) throw new Error(`nobody got ${stream} ${seq} (started after ${start})`)
      }
    }
    for (const { client } of this.workers) client?.lose()
    await settled(engine)
    if (access.sessions.connected.size + access.sessions.connections.size + access.pump.groups.scans.size + access.pump.countOf('bob') + engine.live.size !== 0) throw new Error('something is left')
  }
}

function mapOf (maps: Map<string, Map<number, boolean>>, key: string): Map<number, boolean> {
  let map = maps.get(key)
  if (map === undefined) maps.set(key, map = new Map())
  return map
}
