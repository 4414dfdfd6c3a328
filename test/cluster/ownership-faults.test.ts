/** Stores of several servers, and what may go wrong between them: nothing is lost, stored twice or numbered twice, and who asks is answered. */
import { MongoClient } from 'mongodb'
import t from 'tap'
import type { Test } from 'tap'
import { View } from '../../broker/cluster/view.ts'
import type { Faults } from '../../broker/store/mongodb/store.ts'
import { openMongoStore } from '../../broker/store/mongodb/store.ts'
import type { NewEvent, Store } from '../../broker/store/store.ts'
import { group, join, message } from '../contract/operations.ts'
import { checkLogs } from '../support/log-checks.ts'
import type { Sent } from '../support/log-checks.ts'
import { info, memoryCluster, OwnedView } from '../support/memory-cluster.ts'
import { until } from '../support/mailbox.ts'
import type { MemoryNode } from '../support/memory-cluster.ts'
import type { MemoryNetwork } from '../support/memory-transport.ts'
import { mongodbServer } from '../support/mongodb.ts'

t.setTimeout(300_000)
const server = await mongodbServer(t)

await t.test('faults', { skip: server === undefined }, async t => {
  if (server === undefined) return
  interface Pair { a: MemoryNode, b: MemoryNode, network: MemoryNetwork, fresh: () => Promise<Store>, database: string, conv: string, other: string, beat: () => Promise<void> }
  /** `b` owns everything, and both know it. */
  const pair = async (t: Test, { requestTimeoutMs = 20_000, faults = {} }: { requestTimeoutMs?: number, faults?: Record<string, Faults> } = {}): Promise<Pair> => {
    const database = `${server.database}_${t.name.replace(/\W/g, '').slice(0, 20)}`
    const all = { url: server.url, database, timeoutMs: 20_000 }
    const { nodes: [a, b], network, beat } = await memoryCluster(t, ['a', 'b'], {
      requestTimeoutMs,
      view: ids => new OwnedView(ids, 'b'),
      store: id => ({ ...all, ...faults[id] !== undefined && { faults: faults[id] } })
    })
    if (a === undefined || b === undefined) throw new Error('no servers')
    const fresh = async (): Promise<Store> => {
      const store = await openMongoStore(all)
      t.teardown(() => store.close())
      return store
    }
    return { a, b, network, fresh, database, conv: 'd:alice:bob', other: 'bob', beat }
  }
  const read = (user: string, conv: string, seq: number) => ({ cursors: [], members: [{ user, conv, readSeq: seq, deliveredSeq: seq }], events: [] })

  await t.test('two servers that both believe to own everything', async t => {
    const { a, b, fresh } = await pair(t)
    const convs = ['d:a:b', 'd:a:c', 'g:one']
    for (const node of [a, b]) node.registry.see(new OwnedView(['a', 'b'], node.id))
    const sent: Sent[][] = [[], []]
    await Promise.all([a, b].map(async ({ store }, which) => {
      for (let round = 0; round < 15; round++) {
        const ops = Array.from({ length: 1 + round % 4 }, (_, i) => message(convs[(round + i) % 3] as string, 'a', { counts: i !== 2, ...i === 1 && { cid: `shared ${round}` } }))
        const outcomes = await store.commit(ops)
        for (const [i, op] of ops.entries()) sent[which]?.push({ op, outcome: outcomes[i] as Sent['outcome'] })
      }
    }))
    t.same([a.store.counts.asked, b.store.counts.asked], [0, 0])
    await checkLogs(t, await fresh(), convs, sent)
    t.equal(sent.flat().filter(({ outcome }) => outcome.replay).length, 11, 'a cid through both is one message')
  })

  await t.test('the owner dies between the insert and its answer', async t => {
    let hold: Promise<void> | undefined
    let inserted = (): void => {}
    const reached = new Promise<void>(resolve => { inserted = resolve })
    let release = (): void => {}
    const faults: Faults = { at: async place => { if (place === 'inserted' && hold !== undefined) { inserted(); await hold } } }
    const { a, b, fresh, conv, other } = await pair(t, { faults: { b: faults } })
    const first = message(conv, other)
    await a.store.commit([first])
    hold = new Promise(resolve => { release = resolve })
    const ops = [message(conv, 'alice', { cid: 'x' }), message(conv, other, { counts: false }), message(conv, 'alice')]
    const answer = a.store.commit(ops)
    await reached
    b.die()
    a.registry.see(new OwnedView(['a'], 'a'))
    t.match(await answer, [{ seq: 2, n: 2, replay: false, id: ops[0]?.id }, { seq: 3, n: 2, replay: false, id: ops[1]?.id }, { seq: 4, n: 3, replay: false, id: ops[2]?.id }])
    t.match(await a.store.commit([{ ...ops[0] as typeof first, id: 'again' }]), [{ seq: 2, replay: true, id: ops[0]?.id }], 'a repeat is one')
    release()
    hold = undefined
    await checkLogs(t, await fresh(), [conv], [[], ops.map((op, i) => ({ op, outcome: { seq: i + 2, n: 0, id: op.id, ts: op.ts, replay: false } }))], new Set([first.id]))
    t.match(await (await fresh()).member('alice', conv), { readSeq: 4, readN: 3 })
  })

  await t.test('an owner that is too slow, and does it later', async t => {
    let arrived = (): void => {}
    const { a, b, network, fresh, conv, other } = await pair(t, { requestTimeoutMs: 60, faults: { b: { at: place => { if (place === 'insert') arrived() } } } })
    const ops = [message(conv, other), message(conv, other, { cid: 'x' })]
    network.delayMs = () => 200
    t.match(await a.store.commit(ops), [{ seq: 1, replay: false }, { seq: 2, replay: false }])
    t.equal(a.store.counts.fellBack, 1)
    t.match(await a.store.commit([message(conv, other)]), [{ seq: 3 }])
    t.equal(a.store.counts.asked, 1, 'it is left alone for a while')
    const served = new Promise<void>(resolve => { arrived = resolve })
    await Promise.all([network.settled(), served])
    // Behind what came late.
    t.match(await b.store.commit([message(conv, 'alice')]), [{ seq: 4 }])
    t.same((await (await fresh()).messages(conv, { limit: 10 })).map(({ seq }) => seq), [1, 2, 3, 4])
    t.match(await b.store.heads([conv]), [{ seq: 4 }])
  })

  await t.test('an answer is lost: what was done is done, and told by who asked', async t => {
    const { a, b, network, fresh, conv, other, beat } = await pair(t, { requestTimeoutMs: 400 })
    await a.store.commit([message(conv, other), message(conv, other)])
    const lost = async <T>(work: () => Promise<T>): Promise<T> => {
      network.drops = (from, _, frame) => from === 'b' && frame.includes('["="')
      const { fellBack } = a.store.counts
      const result = await work()
      t.equal(a.store.counts.fellBack, fellBack + 1)
      network.drops = () => false
      // It is asked again.
      a.clock.aheadMs += 10_000
      return result
    }
    t.match(await lost(() => a.store.commit([message(conv, other, { cid: 'x' })])), [{ seq: 3, replay: false, passed: true }])
    t.match(await lost(() => a.store.advance(read('alice', conv, 2))), [{ read: true, delivered: true, row: { readSeq: 2 } }], 'receipts can be made')
    const event: NewEvent = { op: 'event', user: 'bob', slot: 'read x', mark: 2, ts: 7, content: '"seq":2' }
    t.match(await lost(() => a.store.commit([event])), [{ seq: 1, replay: false }])
    await lost(() => a.store.settings('alice', conv, { pinned: true }))
    t.equal(await lost(() => a.store.hide('alice', conv, [3])), 0, 'hidden already')
    t.equal(await a.store.hide('alice', conv, [1]), 1)
    const store = await fresh()
    await beat()
    for (const each of [store, a.store, b.store]) {
      t.match(await each.member('alice', conv), { readSeq: 2, pinned: true, hiddenUnread: 1 })
      t.match(await each.heads([conv]), [{ seq: 3, n: 3 }])
      t.same((await each.events('bob', 0, 10)).length, 1)
    }
  })

  await t.test('each takes the other one for the owner', async t => {
    const { a, b, fresh, conv, other } = await pair(t)
    b.registry.see(new OwnedView(['a', 'b'], 'a'))
    t.match(await a.store.commit([message(conv, other)]), [{ seq: 1 }])
    t.match(await b.store.commit([message(conv, other)]), [{ seq: 2 }])
    t.same([a.store.counts.fellBack, b.store.counts.fellBack], [1, 1])
    t.match(await a.store.advance(read('alice', conv, 2)), [{ read: true }])
    t.match(await b.store.member('alice', conv), { readSeq: 2 })
    t.same((await (await fresh()).messages(conv, { limit: 9 })).length, 2)
  })

  await t.test('changes of members are made where they are asked for, and the owner hears of them', async t => {
    const { a, b, network, conv, other } = await pair(t)
    await b.store.commit([group('team'), join('team', 'alice'), message('g:team', 'alice')])
    t.match(await b.store.groupMember('team', 'alice'), { role: 'member' })
    t.equal(await b.store.groupSize('team'), 1)
    const outcomes = await a.store.commit([message(conv, other), message('g:team', 'alice'), join('team', 'bob'), message('g:team', 'server', { marksSender: false })])
    t.match(outcomes, [{ seq: 1 }, { seq: 2 }, {}, { seq: 3 }])
    t.equal(a.store.counts.asked, 1, 'what has nothing to do with it goes to the owner')
    await network.settled()
    t.match(await b.store.member('bob', 'g:team'), { joinedSeq: 2 })
    t.equal(await b.store.groupSize('team'), 2)
    t.match(await b.store.heads(['g:team']), [{ seq: 3 }])
    await a.store.commit([{ op: 'member.drop', gid: 'team', user: 'alice' }])
    await network.settled()
    t.equal(await b.store.groupMember('team', 'alice'), undefined)
  })

  await t.test('what is stored of a commit that failed is said', async t => {
    let fails = false
    const refuse: Faults = { at: place => { if (place === 'insert' && fails) throw new Error('no') } }
    const { a, b } = await pair(t, { faults: { a: refuse } })
    // `a` owns one of the two.
    const view = new View(['a', 'b'].map(info))
    for (const node of [a, b]) node.registry.see(view)
    const convs = ['d:a:b', 'd:a:c', 'd:a:d', 'd:a:e', 'd:a:f', 'd:a:g']
    const [mine, others] = [convs.filter(conv => view.ownerOf(conv) === 'a'), convs.filter(conv => view.ownerOf(conv) === 'b')]
    fails = true
    await t.rejects(a.store.commit([message(mine[0] as string, 'a'), message(others[0] as string, 'a'), message(others[0] as string, 'b')]), /no/)
    t.same(a.untold, [{ log: others[0], after: 0, upTo: 2, senders: ['a', 'b'] }])
    fails = false
    t.match(await a.store.commit([message(mine[0] as string, 'a')]), [{ seq: 1 }])
  })

  await t.test('a server that is missing may write: nothing is kept until it is over; what it left is written down', async t => {
    let dies = false
    const { a, b, database, conv, other, beat } = await pair(t, { faults: { b: { at: place => { if (place === 'derived' && dies) throw new Error('gone') } } } })
    await b.store.commit([message(conv, other)])
    a.alive.add('b')
    b.die()
    a.registry.see(new OwnedView(['a'], 'a'))
    for (let seq = 2; seq <= 3; seq++) {
      dies = seq === 3
      t.match(await a.store.heads([conv]), [{ seq: seq - 1 }])
      await b.store.commit([message(conv, other)])
    }
    t.match(await a.store.heads([conv]), [{ seq: 3 }])
    t.equal(a.ownership.keeps(conv), false)
    a.alive.clear()
    const over = new Promise<void>(resolve => { a.ownership.onOver(() => { resolve() }) })
    await beat()
    await over
    t.equal(a.ownership.keeps(conv), true)
    const client = new MongoClient(server.url)
    t.teardown(() => client.close())
    const heads = client.db(database).collection('conversations')
    // Nobody reads it: it is written all the same.
    await until(async () => await heads.countDocuments({ s: 3 }) === 1, 10_000, 'the head')
    t.match(await a.store.heads([conv]), [{ seq: 3 }])
  })
})
