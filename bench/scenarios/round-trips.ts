/**
 * Commands that single batches and reads of a running server cost its database, counted by the database itself. Not timed.
 * Whoever is written to is away meanwhile, so that no receipt and no mark is written on the side.
 */
import { Connection } from '../connection.ts'
import { Publisher, Receiver } from '../load.ts'
import { wait } from '../meter.ts'
import type { Peer, RunningDatabase, RunningPeer } from '../peers/peer.ts'
import { timedRequest } from '../peers/rpc.ts'
import { openMany, until } from './scenario.ts'

/** Senders, each with a conversation of its own. Their batch is small enough for FerretDB, of which the store asks less at once. */
const senders = 20
const repeats = 10
const timeoutMs = 20_000
/** The database counts as calm when it has answered nothing for so long: receipts and marks are written at most a second late. */
const calmMs = 1500
/** A server says so often that it is there, which is a command or two. */
const renewalMs = 2000
const reader = 'reader'

/** Resolves when nothing is written or read any more, right behind the server's word that it is there; throws when that does not come. */
async function calm (database: RunningDatabase): Promise<void> {
  const end = performance.now() + timeoutMs
  const count = async () => {
    const { reads, writes } = await database.commands()
    return reads + writes
  }
  let last = -1
  for (let since = performance.now(); performance.now() - since < calmMs;) {
    const now = await count()
    if (now !== last) since = performance.now()
    last = now
    if (performance.now() > end) throw new Error('the database does not come to rest')
    await wait(100)
  }
  for (const from = performance.now(); performance.now() - from < renewalMs && await count() === last;) await wait(50)
  await wait(100)
}

async function acknowledged (publishers: readonly Publisher[]): Promise<void> {
  if (!await until(() => publishers.every(({ acked, published }) => acked === published), timeoutMs)) throw new Error('no PUBACK while round trips are counted')
}

/** Metrics `…_round_trips`; none of a peer without a database, which gets the same traffic. */
export async function roundTrips (peer: Peer, running: RunningPeer): Promise<Record<string, number>> {
  const { port, database } = running
  const metrics: Record<string, number> = {}
  const spent = async (job: () => Promise<void>) => {
    if (database === undefined) {
      await job()
      return { reads: 0, writes: 0, inserts: 0 }
    }
    await calm(database)
    const before = await database.commands()
    await job()
    const after = await database.commands()
    return { reads: after.reads - before.reads, writes: after.writes - before.writes, inserts: after.inserts - before.inserts }
  }
  const publishers = await openMany(senders, async index => new Publisher(await Connection.open({ port, user: `t${index}` }), {
    topics: [peer.toUser(reader)], stream: index, body: 'text', payloadBytes: 100, window: 100
  }))
  const first = publishers.slice(0, 1)
  const send = async (to: readonly Publisher[]) => {
    for (const publisher of to) publisher.send(1)
    await acknowledged(to)
  }
  // The first message of a conversation opens it, and rows come into memory.
  await send(publishers)
  const alone = await spent(async () => { for (let i = 0; i < repeats; i++) await send(first) })
  metrics['message_alone_round_trips'] = (alone.reads + alone.writes) / repeats
  // How many batches become of it is the server's affair: each is one insert.
  const together = await spent(async () => { for (let i = 0; i < repeats; i++) await send(publishers) })
  metrics['batch_round_trips'] = (together.reads + together.writes) / together.inserts
  metrics['messages_per_batch'] = senders * repeats / together.inserts
  await Promise.all(publishers.map(publisher => publisher.connection.close()))

  const waiting = senders * (1 + repeats) + repeats
  const connection = await Connection.open({ port, user: reader })
  const receiver = new Receiver(connection, peer.systemMark)
  const backlog = await spent(async () => {
    await connection.subscribe([peer.inbox(reader)])
    if (!await until(() => receiver.received >= waiting, timeoutMs, () => receiver.received)) throw new Error(`${receiver.received} of ${waiting} waiting messages came`)
  })
  metrics[`backlog_${senders}_conversations_reads`] = backlog.reads
  const asked = async (name: string, method: string, params: object) => {
    await timedRequest(connection, method, params)
    const { reads } = await spent(async () => { for (let i = 0; i < repeats; i++) await timedRequest(connection, method, params) })
    metrics[`${name}_round_trips`] = reads / repeats
  }
  await asked('list_50', 'conversations.list', { limit: 50 })
  await asked('history_50', 'messages.history', { with: 't0', limit: 50 })
  await connection.close()
  return database === undefined ? {} : metrics
}
