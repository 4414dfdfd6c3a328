/**
 * Three servers that write the same conversations, while frames between them are lost, doubled and late, servers see each other and do not, each in its
 * own time, and the answers of the database come late: numbers, marks and lists are right at the end, and each server shows the same ones.
 * `SABETHES_TEST_RUNS`: how many runs (default 2).
 */
import t from 'tap'
import { View } from '../../broker/cluster/view.ts'
import { openMongoStore } from '../../broker/store/mongodb/store.ts'
import type { NewMessage, Operation, Outcome } from '../../broker/store/store.ts'
import { group, join, message } from '../contract/operations.ts'
import { checkLogs } from '../support/log-checks.ts'
import type { Sent } from '../support/log-checks.ts'
import { info, memoryCluster, OwnedView } from '../support/memory-cluster.ts'
import type { MemoryNode } from '../support/memory-cluster.ts'
import { MemoryNetwork } from '../support/memory-transport.ts'
import { mongodbServer } from '../support/mongodb.ts'

const runs = Number(process.env.SABETHES_TEST_RUNS ?? 2)
const rounds = 20
t.setTimeout((runs * 60 + 60) * 1000)
const server = await mongodbServer(t)
const users = ['a', 'b', 'c']
const convs = ['d:a:b', 'd:a:c', 'd:b:c', 'g:one', 'g:two']
const ids = ['one', 'two', 'three']

/** Numbers that follow from a seed (mulberry32). */
function numbers (seed: number): () => number {
  return () => {
    seed = (seed + 0x6D2B79F5) | 0
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
}

for (let run = 0; run < runs; run++) {
  const seed = Number(process.env.SABETHES_TEST_SEED ?? Math.floor(Math.random() * 1e9)) + run
  await t.test(`seed ${seed}`, { skip: server === undefined }, async t => {
    if (server === undefined) return
    const random = numbers(seed)
    const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T
    const network = new MemoryNetwork()
    network.random = random
    const database = `${server.database}_${run}`
    const slow = { at: async (): Promise<void> => { if (random() < 0.05) await new Promise(resolve => { setTimeout(resolve, random() * 120) }) } }
    const all = { url: server.url, database, timeoutMs: 20_000 }
    const { nodes, beat } = await memoryCluster(t, ids, { network, requestTimeoutMs: 300, store: () => ({ ...all, faults: slow }) })
    await (nodes[0] as MemoryNode).store.commit([group('one'), group('two'), ...users.flatMap(user => [join('one', user), join('two', user)])])
    network.lose = 0.05
    network.double = 0.05
    network.delayMs = () => random() < 0.1 ? random() * 150 : 0

    const beats: Array<Promise<void>> = []
    const upset = (): void => {
      const node = pick(nodes)
      const roll = random()
      if (roll < 0.3) node.registry.see(new OwnedView(ids, pick(ids)))
      else if (roll < 0.5) node.registry.see(new View(ids.map(info)))
      else if (roll < 0.7) node.registry.see(new View([node.id, ...ids.filter(id => id !== node.id && random() < 0.5)].map(info)))
      else if (roll < 0.8) node.registry.isLinked = !node.registry.isLinked
      else if (roll < 0.9) network.cut(pick(ids), pick(ids))
      else network.heal()
      beats.push(node.registry.beat())
    }
    const sent: Sent[][] = nodes.map(() => [])
    const open = new Set<string>()
    const reads = new Map<string, number>()
    let made = 0
    const write = async ({ store }: MemoryNode, mine: Sent[]): Promise<void> => {
      for (let round = 0; round < rounds; round++) {
        if (random() < 0.15) upset()
        const ops: Operation[] = Array.from({ length: 1 + Math.floor(random() * 6) }, () => {
          const conv = pick(convs)
          const from = conv.startsWith('g:') ? pick(users) : conv.charAt(random() < 0.5 ? 2 : 4)
          const roll = random()
          const cid = roll < 0.3 ? `shared ${Math.floor((made += 0.4))}` : roll < 0.6 ? `own ${++made}` : undefined
          return message(conv, from, { counts: random() < 0.8, ...cid !== undefined && { cid } })
        })
        if (random() < 0.15) ops.splice(Math.floor(random() * ops.length), 0, { op: 'member', gid: pick(['one', 'two']), user: pick(users), role: pick(['member', 'admin'] as const) })
        const outcomes = await store.commit(ops)
        for (const [i, op] of ops.entries()) if (op.op === 'message') mine.push({ op: op as NewMessage, outcome: outcomes[i] as Outcome })
        const [user, last] = [pick(users), mine.at(-1)]
        const conv = last?.op.conv ?? ''
        if (last === undefined || !(conv.startsWith('g:') || conv.split(':').includes(user))) continue
        const { seq } = last.outcome
        if (random() < 0.5) {
          await store.advance({ cursors: [], members: [{ user, conv, readSeq: seq, deliveredSeq: seq }], events: [] })
          reads.set(`${user} ${conv}`, Math.max(seq, reads.get(`${user} ${conv}`) ?? 0))
          await store.commit([{ op: 'event', user, slot: `read ${conv}`, mark: seq, ts: round, content: `${conv} ${seq}` }])
        }
        if (random() < 0.2) await store.hide(user, conv, [seq, seq - 1])
        if (random() < 0.2) await store.settings(user, conv, { pinned: random() < 0.5 })
      }
    }
    await Promise.all(nodes.map((node, i) => write(node, sent[i] as Sent[])))

    network.heal()
    network.lose = network.double = 0
    network.delayMs = () => 0
    for (const { registry } of nodes) {
      registry.isLinked = true
      registry.see(new View(ids.map(info)))
    }
    await Promise.all(beats)
    await network.settled()
    for (let i = 0; i < 3; i++) {
      await beat()
      await network.settled()
    }
    await Promise.all(nodes.map(({ ownership }) => ownership.settled()))
    const fresh = await openMongoStore(all)
    t.teardown(() => fresh.close())
    await checkLogs(t, fresh, convs, sent, open)
    t.ok(convs.every(conv => nodes.filter(({ ownership }) => ownership.keeps(conv)).length === 1), 'each has one owner')
    for (const user of users) {
      const list = await fresh.conversations(user, { limit: 100 })
      for (const node of nodes) t.same(await node.store.conversations(user, { limit: 100 }), list, `${node.id} shows what is stored`)
      for (const { member } of list) t.ok(member.readSeq >= (reads.get(`${user} ${member.conv}`) ?? 0), 'no mark went back')
      const events = await fresh.events(user, 0, 1000)
      t.ok(events.length <= convs.length, 'one event a slot')
      for (const { member: { conv } } of list) {
        const read = reads.get(`${user} ${conv}`)
        if (read !== undefined) t.ok(events.some(({ content }) => content === `${conv} ${read}`), 'the last receipt is there')
      }
      for (const node of nodes) t.same(await node.store.eventHead(user), await fresh.eventHead(user))
    }
    const counts = nodes.map(({ store }) => store.counts)
    t.comment(`${sent.flat().length} messages, ${sent.flat().filter(({ outcome }) => outcome.replay).length} repeats; ${JSON.stringify(counts)}`)
  })
}
