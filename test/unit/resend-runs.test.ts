/** Memories of packet ids that lie in runs, against the plainest model: one memory for each packet id, and the newest is it. */
import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import type { Batch } from '../../broker/store/level/batch.ts'
import { resendCodec } from '../../broker/store/level/codec.ts'
import type { ResendRow } from '../../broker/store/level/codec.ts'
import type { Database } from '../../broker/store/level/database.ts'
import { key } from '../../broker/store/level/keys.ts'
import { decodeMemories, encodeMemories, maxSpan, Resends } from '../../broker/store/level/resend-runs.ts'
import { readMemories } from '../../broker/store/level/resend-transfer.ts'
import { repeats } from '../../broker/store/resend.ts'
import type { NewMessage, Resend } from '../../broker/store/store.ts'

const session = 'alice/an old phöne \u{1f4de}'
const neighbours = ['alice/an old phöne', 'alice/an old phöne \u{1f4de}!', 'alice/an old phöne \uffee']
const windowMs = 1000

/** Rows in the order of their bytes, as LevelDB has them. */
class Rows {
  readonly rows = new Map<string, string>()
  /** Rows that were read. */
  read = 0

  async get (name: string): Promise<string | undefined> { return this.rows.get(name) }
  async getMany (names: string[]): Promise<Array<string | undefined>> { return names.map(name => this.rows.get(name)) }
  async rowsOf ({ gt, lt }: { gt: string, lt: string }): Promise<Array<[string, string]>> {
    const [from, to] = [Buffer.from(gt), Buffer.from(lt)]
    const found = [...this.rows].map(([name, text]) => ({ name, text, bytes: Buffer.from(name) })).filter(({ bytes }) => bytes.compare(from) > 0 && bytes.compare(to) < 0)
    found.sort((a, b) => a.bytes.compare(b.bytes))
    this.read += found.length
    return found.map(({ name, text }) => [name, text])
  }

  async * scan (range: { gt: string, lt: string }): AsyncGenerator<Array<[string, string]>, void> {
    const found = await this.rowsOf(range)
    if (found.length > 0) yield found
  }
}

/** What a store does with publishes: seq and id of each, and whether it was there before. */
interface Answer { seq: number, id: string, replay: boolean }

function message (resend: Resend, seq: number, ts: number): NewMessage {
  return { op: 'message', conv: 'd:alice:bob', from: 'alice', id: `id ${seq}`, ts, counts: true, marksSender: true, content: '', resend }
}

class World {
  readonly stored = new Rows()
  readonly model = new Map<string, ResendRow>()
  #seq = 0

  /** One commit, by the runs and by the model. */
  async commit (publishes: readonly Resend[], ts: number): Promise<{ found: Answer[], expected: Answer[] }> {
    const resends = new Resends(windowMs)
    for (const resend of publishes) if (resend.dup) resends.want(resend)
    await resends.load(dbOf(this.stored))
    const found: Answer[] = []
    const expected: Answer[] = []
    for (const resend of publishes) {
      const seq = ++this.#seq
      const op = message(resend, seq, ts)
      found.push(this.#run(resends, op, resend))
      expected.push(this.#plain(op, resend))
    }
    resends.put({ put: (name: string, text: string) => { this.stored.rows.set(name, text) } } as unknown as Batch)
    return { found, expected }
  }

  #run (resends: Resends, op: NewMessage, resend: Resend): Answer {
    const first = resends.first(op)
    if (first === undefined) {
      resends.remember(resend, rowOf(op, resend))
      return { seq: Number(op.id.slice(3)), id: op.id, replay: false }
    }
    const { seq, n, ts, id, conv, digest } = first
    if (first.epoch !== resend.epoch) resends.remember(resend, { seq, n, ts, id, conv, digest, epoch: resend.epoch, number: resend.number })
    return { seq, id, replay: true }
  }

  #plain (op: NewMessage, resend: Resend): Answer {
    const name = `${resend.session} ${resend.packetId}`
    const known = this.model.get(name)
    if (known === undefined || !repeats(op, { ...known, epoch: known.epoch, number: known.number }, windowMs)) {
      this.model.set(name, rowOf(op, resend))
      return { seq: Number(op.id.slice(3)), id: op.id, replay: false }
    }
    if (known.epoch !== resend.epoch) this.model.set(name, { ...known, epoch: resend.epoch, number: resend.number })
    return { seq: known.seq, id: known.id, replay: true }
  }
}

function rowOf ({ id, ts, conv }: NewMessage, { digest, epoch, number }: Resend): ResendRow {
  const seq = Number(id.slice(3))
  return { seq, n: seq, ts, id, conv, digest, epoch, number }
}

function dbOf (stored: Rows): Database {
  return { rows: async (range: { gt: string, lt: string }) => await stored.rowsOf(range), getMany: async (names: string[]) => await stored.getMany(names), get: async (name: string) => await stored.get(name), scan: (range: { gt: string, lt: string }) => stored.scan(range) } as unknown as Database
}

/** A device: what it has under way, in the order of sending. */
interface Open { packetId: number, digest: string, number: number }

type PacketIds = 'counted' | 'lowest' | 'any'
interface Life {
  ids: PacketIds
  start: number
  connections: Array<{ resends: 'in order' | 'shuffled' | 'reversed', fresh: number[], cuts: number[], heard: number, reached: number, known: number, twice: number, waits: number }>
}

const share = fc.integer({ min: 0, max: 100 })
const life: fc.Arbitrary<Life> = fc.record({
  ids: fc.constantFrom('counted' as const, 'lowest' as const, 'any' as const),
  start: fc.constantFrom(1, 65_520, 40),
  connections: fc.array(fc.record({
    resends: fc.constantFrom('in order' as const, 'shuffled' as const, 'reversed' as const),
    fresh: fc.array(fc.nat(65_534), { maxLength: 50 }),
    cuts: fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1, maxLength: 8 }),
    heard: share,
    reached: share,
    known: share,
    twice: fc.nat(3),
    waits: fc.constantFrom(0, 0, 0, 300, 1100)
  }), { minLength: 2, maxLength: 8 })
})

class Device {
  open: Open[] = []
  #next: number
  readonly #ids: PacketIds
  constructor (ids: PacketIds, start: number) {
    this.#ids = ids
    this.#next = start
  }

  id (any: number): number {
    const taken = new Set(this.open.map(({ packetId }) => packetId))
    let id = this.#ids === 'counted' ? this.#next : this.#ids === 'lowest' ? 1 : any + 1
    while (taken.has(id)) id = id % 65_535 + 1
    this.#next = id % 65_535 + 1
    return id
  }
}

await t.test('lives of devices: what comes again is found as if each packet id had its own memory', async t => {
  let replays = 0
  const property = fc.asyncProperty(life, async ({ ids, start, connections }) => {
    const world = new World()
    const device = new Device(ids, start)
    let last: { epoch: string, proven: number } | undefined
    let now = 10_000
    for (const name of neighbours) await world.commit([{ session: name, packetId: start, digest: 'x', dup: false, epoch: 'e0', number: 1, proven: 0 }], now)
    for (const [c, { resends, fresh, cuts, heard, reached, known, twice, waits }] of connections.entries()) {
      const epoch = `e${c}`
      now += waits
      let number = 0
      const again = resends === 'reversed' ? device.open.toReversed() : resends === 'shuffled' ? device.open.toSorted((a, b) => a.packetId * 7919 % 101 - b.packetId * 7919 % 101) : [...device.open]
      const sent: Array<Open & { dup: boolean }> = again.map(one => ({ ...one, dup: true }))
      device.open = []
      for (const one of sent) device.open.push(one)
      // Words come again and again, as those of people do.
      for (const any of fresh) {
        const one = { packetId: device.id(any), digest: `w${any % 2}`, number: 0 }
        sent.push({ ...one, dup: false })
        device.open.push(one)
      }
      // Clients of MQTT 3.1.1 send again on the same connection, too.
      for (const one of sent.slice(0, twice)) sent.push({ ...one, dup: true })
      const arrived = sent.slice(0, Math.ceil(sent.length * reached / 100))
      for (const one of arrived) one.number = ++number
      const acknowledged = arrived.slice(0, Math.floor(arrived.length * heard / 100))
      for (let at = 0, k = 0; at < arrived.length; k++) {
        const piece = arrived.slice(at, at += cuts[k % cuts.length] as number)
        const { found, expected } = await world.commit(piece.map(one => ({ session, packetId: one.packetId, digest: one.digest, dup: one.dup, epoch, number: one.number, proven: 0, ...(last === undefined ? {} : { last }) })), now)
        assert.deepStrictEqual(found, expected, `connection ${c}: ${piece.map(one => `${one.packetId}${one.dup ? '!' : ''}`).join()}`)
        replays += found.filter(({ replay }) => replay).length
      }
      const ended = new Set(acknowledged.map(({ packetId }) => packetId))
      device.open = device.open.filter(({ packetId }) => !ended.has(packetId))
      last = { epoch, proven: Math.floor((acknowledged.at(-1)?.number ?? 0) * known / 100) }
    }
    // A migration takes the same with it: what the next connection may send again is found.
    world.stored.rows.set(key.session(session), JSON.stringify({ session, connection: last }))
    const taken = new Map<number, unknown>()
    for await (const { rows } of readMemories(dbOf(world.stored))) for (const row of rows) if (row.session === session) taken.set(row.packetId, row)
    for (const { packetId } of device.open) {
      const row = world.model.get(`${session} ${packetId}`)
      if (row !== undefined && row.epoch === last?.epoch) assert.deepStrictEqual(taken.get(packetId), { session, packetId, ...row })
    }
  })
  const { FC_RUNS, FC_SEED } = process.env
  await fc.assert(property, { numRuns: Number(FC_RUNS ?? 150), ...(FC_SEED === undefined ? {} : { seed: Number(FC_SEED) }) })
  t.ok(replays > 100, `${replays} repeats`)
})

const word = fc.string({ unit: fc.constantFrom('a', 'Z', '0', '.', '-', '_', '~', ':'), minLength: 1, maxLength: 12 })
const number = fc.integer({ min: 1, max: 2 ** 40 })

await t.test('what is written is what is read', async () => {
  const one = fc.record({ packetId: fc.integer({ min: 1, max: 65_535 }), seq: number, n: fc.oneof(fc.constant(0), number), ts: fc.constantFrom(0, 5, 1_790_000_000_000), id: word, conv: fc.constantFrom('d:a:b', 'g:g'), digest: word, connection: fc.constantFrom('e1', 'e2', '-', '~', undefined), number })
  fc.assert(fc.property(fc.array(one, { minLength: 1, maxLength: maxSpan }), memories => {
    const rows = memories.map(({ connection, number, ...row }) => connection === undefined ? row : { ...row, epoch: connection, number })
    assert.deepStrictEqual(decodeMemories(encodeMemories(rows)), rows)
  }))
})

await t.test('a device that sends again out of order', async t => {
  const world = new World()
  const publish = (packetId: number, dup: boolean, epoch: string, number: number): Resend => ({ session, packetId, digest: `d${packetId}`, dup, epoch, number, proven: 0, ...(epoch === 'e1' ? {} : { last: { epoch: 'e1', proven: 0 } }) })
  await world.commit(Array.from({ length: 10 }, (_, i) => publish(i + 1, false, 'e1', i + 1)), 1)
  // As a store of files by name has them: 1, 10, 2, ...
  for (const [k, packetId] of [1, 10, 2, 3, 4, 5, 6, 7, 8, 9].entries()) {
    const { found } = await world.commit([publish(packetId, true, 'e2', k + 1)], 2)
    t.match(found, [{ seq: packetId, replay: true }], `packet id ${packetId}`)
  }
})

await t.test('packet ids that begin anew: what lies between is not read', async t => {
  const world = new World()
  const publish = (packetId: number, dup = false): Resend => ({ session, packetId, digest: 'd', dup, epoch: 'e', number: 1, proven: 0 })
  for (let id = 40; id < 60_000; id += 40) await world.commit([publish(id)], 1)
  await world.commit([publish(65_534), publish(65_535)], 1)
  await world.commit([publish(1), publish(2)], 1)
  world.stored.read = 0
  const { found } = await world.commit([65_534, 65_535, 1, 2].map(id => publish(id, true)), 1)
  t.ok(found.every(({ replay }) => replay))
  t.ok(world.stored.read < 20, `${world.stored.read} rows were read`)
})

await t.test('rows of before format 4', async t => {
  const world = new World()
  const row = { seq: 4, n: 3, ts: 1, id: 'the id', conv: 'd:alice:bob', digest: 'd', epoch: 'e1', number: 7 }
  world.stored.rows.set(key.resend(session, 9), resendCodec.encode(row))
  world.stored.rows.set(key.resend(session, 10), resendCodec.encode({ ...row, id: 'another', number: 8 }))
  const again = { session, packetId: 9, digest: 'd', dup: true, epoch: 'e2', number: 1, proven: 0, last: { epoch: 'e1', proven: 0 } }
  t.match((await world.commit([again], 2)).found, [{ seq: 4, id: 'the id', replay: true }])
  t.match((await world.commit([{ ...again, epoch: 'e3', last: { epoch: 'e2', proven: 0 } }], 2)).found, [{ seq: 4, id: 'the id', replay: true }], 'and on the connection after that')
  t.match((await world.commit([{ ...again, epoch: 'e4', last: { epoch: 'e3', proven: 1 } }], 2)).found, [{ replay: false }], 'its answer is known')
  t.match((await world.commit([{ ...again, dup: false, epoch: 'e5' }, { ...again, epoch: 'e5', number: 2 }], 2)).found, [{ seq: 4, replay: false }, { seq: 4, replay: true }], 'a new one in its place')
  const taken = new Map<number, string>()
  for await (const { rows } of readMemories(dbOf(world.stored))) for (const { packetId, id } of rows) taken.set(packetId, id)
  t.same([...taken], [[9, 'id 4'], [10, 'another']])
})
