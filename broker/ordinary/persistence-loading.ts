/** Reading the outgoing queues from the records: which numbers are queued, what became of them, and their bodies. */
import { decodeReference, withIdentifiers } from './persistence-bodies.ts'
import type { Bodies, BodyPlace, Reference } from './persistence-bodies.ts'
import { bodyKey, bounds, sharedKey, splitKey } from './persistence-records.ts'
import type { BatchWriter, RecordsLike } from './persistence-records.ts'
import { decode } from './persistence-packets.ts'
import type { Body } from './persistence-packets.ts'
import type { State } from './persistence-cold.ts'
import type { Entry } from './persistence-entry.ts'
import type { OutgoingQueue } from './persistence-queue.ts'

/** Fills `queues` with what is stored, row by row; bodies stay on disk. */
export async function loadQueues (records: RecordsLike, bodies: Bodies, queues: Map<string, OutgoingQueue>, newQueue: (client: string) => OutgoingQueue): Promise<void> {
  const states = new Map<string, Map<number, State>>()
  for await (const [key, value] of records.range(...bounds('s'))) {
    const { client, rest } = splitKey(key)
    let own = states.get(client)
    if (own === undefined) states.set(client, own = new Map())
    own.set(Number(rest), stateOf(value))
  }
  for await (const [key, value] of records.range(...bounds('b'))) bodies.found(Number(key.slice(2)), value.byteLength)
  let rows = new QueueRows()
  let current: string | undefined
  const finish = (client: string): void => {
    const own = states.get(client) ?? new Map<number, State>()
    states.delete(client)
    const queue = newQueue(client)
    queue.restore(rows.withReleased(own), own)
    queues.set(client, queue)
    rows = new QueueRows()
  }
  for await (const [key, value] of records.range(...bounds('q'))) {
    const { client, rest } = splitKey(key)
    if (current !== undefined && current !== client) finish(current)
    current = client
    rows.seqs.push(Number(rest))
    rows.places.push(decodeReference(value)?.body ?? -value.byteLength)
  }
  if (current !== undefined) finish(current)
  for (const client of [...states.keys()]) finish(client)
}

/** The rows of one queue by their numbers, ascending. Of a long one nothing else is made at the start. */
class QueueRows {
  seqs: number[] = []
  places: Array<BodyPlace | undefined> = []

  /** With those that have no body any more, of which PUBREL is due. */
  withReleased (states: ReadonlyMap<number, State>): this {
    const released = new Set([...states].filter(([, { rel }]) => rel === 1).map(([seq]) => seq))
    if (released.size === 0) return this
    for (const seq of this.seqs) released.delete(seq)
    const all = [...this.seqs.map((seq, i) => [seq, this.places[i]] as const), ...[...released].map(seq => [seq, undefined] as const)]
    all.sort(([a], [b]) => a - b)
    this.seqs = all.map(([seq]) => seq)
    this.places = all.map(([, place]) => place)
    return this
  }
}

/** What became of a client's messages, by their numbers. */
export async function readStates (records: RecordsLike, client: string): Promise<Map<number, State>> {
  const states = new Map<number, State>()
  for await (const [key, value] of records.range(...bounds('s', client))) states.set(Number(splitKey(key).rest), stateOf(value))
  return states
}

/** Reads into a client's queue which packet ids it has; resolves to whether there is one. */
export async function wakeQueue (records: RecordsLike, client: string, queueOf: () => OutgoingQueue | undefined): Promise<boolean> {
  for (let queue = queueOf(); queue?.asleep === true; queue = queueOf()) {
    const { chilledIds } = queue
    const states = await readStates(records, client)
    // What left memory meanwhile may have rows that this did not read.
    if (queue.asleep && queue.chilledIds === chilledIds) queue.wake(states)
  }
  return queueOf() !== undefined
}

/** The bodies of those entries of a page that are not in memory. */
export async function readBodies (records: RecordsLike, queue: OutgoingQueue, page: readonly Entry[]): Promise<Map<number, Body>> {
  const bodies = new Map<number, Body>()
  const references: Array<[number, Reference]> = []
  const missing = page.filter(entry => entry.body === undefined && !entry.released)
  const first = missing[0]
  const last = missing[missing.length - 1]
  if (first === undefined || last === undefined) return bodies
  for await (const [key, value] of records.range(bodyKey(queue.client, first.seq), bodyKey(queue.client, last.seq + 1))) {
    const seq = Number(splitKey(key).rest)
    const reference = decodeReference(value)
    if (reference === undefined) bodies.set(seq, decode(value).body)
    else references.push([seq, reference])
  }
  await Promise.all(references.map(async ([seq, { body: id, qos, retain, identifiers }]) => {
    const row = await records.get(sharedKey(id))
    if (row === undefined) return
    const body = decode(row).body
    bodies.set(seq, { ...body, qos, retain, ...withIdentifiers(body.properties, identifiers) })
  }))
  return bodies
}

/** The same, also of those that left memory on their way to the disk, with others of their session. */
export async function readWritten ({ records, writer }: { records: RecordsLike, writer: Pick<BatchWriter, 'flush'> }, queue: OutgoingQueue, page: readonly Entry[]): Promise<Map<number, Body>> {
  const bodies = await readBodies(records, queue, page)
  if (page.every(({ seq, body, released }) => body !== undefined || released || bodies.has(seq))) return bodies
  await writer.flush()
  return await readBodies(records, queue, page)
}

function stateOf (value: Uint8Array): State { return JSON.parse(Buffer.from(value).toString()) as State }
