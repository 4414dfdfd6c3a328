/** What ownership costs, in commands to the database: a commit is two, at the owner, wherever it came in. */
import t from 'tap'
import { join, group, message } from '../contract/operations.ts'
import { memoryCluster, OwnedView } from '../support/memory-cluster.ts'
import { until } from '../support/mailbox.ts'
import { mongodbServer } from '../support/mongodb.ts'

t.setTimeout(120_000)
const server = await mongodbServer(t)

await t.test('round trips', { skip: server === undefined }, async t => {
  if (server === undefined) return
  let hold: (() => void) | undefined
  let release = (): void => {}
  const held = async (): Promise<void> => {
    hold?.()
    hold = undefined
    await new Promise<void>(resolve => { release = resolve })
  }
  const sent: Record<string, string[]> = { a: [], b: [] }
  const { nodes: [a, b, c], network } = await memoryCluster(t, ['a', 'b', 'c'], {
    requestTimeoutMs: 20_000,
    view: ids => new OwnedView(ids, 'b'),
    store: id => ({
      url: server.url,
      database: server.database,
      timeoutMs: 20_000,
      faults: { at: async place => { if (place === 'insert' && hold !== undefined) await held() } },
      onCommand: ({ name, collection }) => { sent[id]?.push(`${name} ${collection}`) }
    })
  })
  if (a === undefined || b === undefined || c === undefined) return
  const [conv, user] = ['d:alice:bob', 'alice']
  await a.store.commit([group('team'), join('team', user), message('g:team', user), message(conv, user), message(conv, 'bob')])
  const costs = async (work: () => Promise<unknown>): Promise<{ a: string[], b: string[] }> => {
    for (const commands of Object.values(sent)) commands.length = 0
    await work()
    await network.settled()
    return { a: [...sent['a'] ?? []], b: [...sent['b'] ?? []] }
  }
  const warm = ['insert messages', 'update conversations']
  for (const { store } of [a, b]) await store.commit([message(conv, user), message('g:team', user)])
  t.same(await costs(() => b.store.commit([message(conv, user), message('g:team', user)])), { a: [], b: warm })
  t.same(await costs(() => a.store.commit([message(conv, user), message('g:team', user)])), { a: [], b: warm })
  const { served } = b.store.counts
  t.same(await costs(async () => {
    const begun = new Promise<void>(resolve => { hold = resolve })
    const first = b.store.commit([message(conv, user)])
    await begun
    const others = [a, c].map(({ store }) => store.commit([message(conv, user), message('g:team', user)]))
    await until(() => b.store.counts.served === served + 2, 5_000, 'the question')
    release()
    t.match((await Promise.all(others)).map(([one]) => one?.seq).sort(), [8, 9])
    await first
  }), { a: [], b: [...warm, ...warm] }, 'what comes meanwhile, from whomever, is one commit')
  const frames = network.frames
  await a.store.commit([message(conv, user), message('g:team', user)])
  t.equal(network.frames - frames, 2, 'one question, one answer')
  const mark = { cursors: [], members: [{ user: 'bob', conv, readSeq: 3 }], events: [{ user, deliveredSeq: 0 }] }
  t.match(await costs(() => a.store.advance(mark)).then(({ a }) => a), [])
  t.same(await costs(() => a.store.advance({ ...mark, members: [{ user: 'bob', conv, readSeq: 5 }] })).then(({ b }) => b), ['find messages', 'update conversations'])
  t.same(await costs(() => a.store.heads([conv])), { a: ['find conversations', 'find messages'], b: [] }, 'who is no owner reads')
})
