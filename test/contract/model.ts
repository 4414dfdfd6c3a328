/** Random histories against a model that counts and filters in the plainest way; each backend is run against it. */
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { Expiry } from '../../broker/engine/reading/expiry.ts'
import { unreadOf } from '../../broker/engine/reading/visible.ts'
import type { Store } from '../../broker/store/store.ts'
import { directId } from '../../broker/topics.ts'

const users = ['al', 'bo', 'cy'] as const
const gids = ['g', 'h'] as const
const convs = [directId('al', 'bo'), directId('al', 'al'), 'g:g', 'g:h'] as const

interface ModelMessage { seq: number, expiresAt: number | undefined, id: string, ts: number, counts: boolean, purged: boolean, cid: string | undefined, from: string }
interface ModelMember { joined: number, cleared: number, read: number, hidden: Set<number> }

class Model {
  logs = new Map<string, ModelMessage[]>()
  members = new Map<string, ModelMember>()

  log (conv: string): ModelMessage[] {
    let log = this.logs.get(conv)
    if (log === undefined) this.logs.set(conv, log = [])
    return log
  }

  member (user: string, conv: string): ModelMember | undefined { return this.members.get(`${user} ${conv}`) }
  put (user: string, conv: string): void {
    const head = this.log(conv).length
    this.members.set(`${user} ${conv}`, { joined: head, cleared: 0, read: head, hidden: new Set() })
  }

  unread (user: string, conv: string, now: number): number {
    const m = this.member(user, conv)
    if (m === undefined) return 0
    return this.log(conv).filter(x => x.seq > m.read && x.counts && !x.purged && !m.hidden.has(x.seq) && (x.expiresAt ?? Infinity) > now).length
  }

  conversations (user: string): string[] {
    return convs.filter(conv => this.member(user, conv) !== undefined).sort()
  }

  hidden (user: string, conv: string): number[] {
    return [...this.member(user, conv)?.hidden ?? []].sort((a, b) => a - b)
  }
}

type Step =
  | { do: 'send', from: number, conv: number, cid: number, counts: boolean, marks: boolean, times: number, lasts: number }
  | { do: 'read', user: number, conv: number, back: number }
  | { do: 'hide', user: number, conv: number, backs: number[] }
  | { do: 'clear', user: number, conv: number }
  | { do: 'join', user: number, gid: number }
  | { do: 'leave', user: number, gid: number }
  | { do: 'drop', gid: number }
  | { do: 'purge', back: number, limit: number }
  | { do: 'reopen' }

const user = fc.nat(users.length - 1)
// The direct conversation of two and one group are where most happens.
const conv = fc.constantFrom(0, 0, 0, 1, 2, 2, 3)
const gid = fc.nat(gids.length - 1)
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ do: fc.constant('send' as const), from: user, conv, cid: fc.nat(11), counts: fc.boolean(), marks: fc.boolean(), lasts: fc.constantFrom(0, 0, 1, 3, 9, 30), times: fc.integer({ min: 1, max: 3 }) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('read' as const), user, conv, back: fc.integer({ min: -1, max: 4 }) }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('hide' as const), user, conv, backs: fc.array(fc.integer({ min: -1, max: 4 }), { maxLength: 4 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('clear' as const), user, conv }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('join' as const), user, gid }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('leave' as const), user, gid }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('drop' as const), gid }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('purge' as const), back: fc.nat(12), limit: fc.integer({ min: 1, max: 5 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('reopen' as const) }) }
)

interface World { store: Store, expiry: Expiry, model: Model, clock: number, made: number, reopen: () => Promise<Store> }

async function run (w: World, s: Step): Promise<void> {
  const { store, model } = w
  if (s.do === 'reopen') {
    w.store = await w.reopen()
    w.expiry = new Expiry(w.store)
  } else if (s.do === 'send') {
    const conv = convs[s.conv] as string
    const from = users[s.from] as string
    if (conv.startsWith('d:') && !conv.split(':').includes(from)) return
    const ops = Array.from({ length: s.times }, () => {
      const id = `m${++w.made}`
      // Small numbers repeat keys, also inside the batch.
      const cid = s.cid < 4 ? `k${s.cid}` : undefined
      return { op: 'message' as const, conv, from, id, ts: ++w.clock, counts: s.counts, marksSender: s.marks, content: `"id":"${id}"`, ...(cid === undefined ? {} : { cid }), ...(s.lasts === 0 ? {} : { expiresAt: w.clock + s.lasts }) }
    })
    const out = await store.commit(ops)
    for (const [i, op] of ops.entries()) {
      const log = model.log(conv)
      const first = log.find(x => x.cid !== undefined && x.cid === op.cid && x.from === from && !x.purged)
      if (first !== undefined) {
        assert.deepStrictEqual(out[i], { seq: first.seq, n: log.filter(x => x.counts && x.seq <= first.seq).length, id: first.id, ts: first.ts, replay: true })
        continue
      }
      if (log.length === 0 && conv.startsWith('d:')) for (const u of conv.slice(2).split(':')) model.put(u, conv)
      const m = model.member(from, conv)
      const passed: boolean = m !== undefined && s.marks && log.some(x => x.seq > m.read && !x.purged)
      log.push({ seq: log.length + 1, id: op.id, ts: op.ts, counts: op.counts, purged: false, cid: op.cid, from, expiresAt: 'expiresAt' in op ? op.expiresAt : undefined })
      if (m !== undefined && s.marks) m.read = log.length
      assert.deepStrictEqual(out[i], { seq: log.length, n: log.filter(x => x.counts).length, id: op.id, ts: op.ts, replay: false, ...(passed ? { passed } : {}) })
    }
  } else if (s.do === 'read') {
    const conv = convs[s.conv] as string
    const seq = model.log(conv).length - s.back
    await store.advance({ cursors: [], events: [], members: [{ user: users[s.user] as string, conv, readSeq: seq }] })
    const m = model.member(users[s.user] as string, conv)
    if (m !== undefined) m.read = Math.max(m.read, Math.min(seq, model.log(conv).length))
  } else if (s.do === 'hide') {
    const conv = convs[s.conv] as string
    const seqs = s.backs.map(back => model.log(conv).length - back)
    const count = await store.hide(users[s.user] as string, conv, seqs)
    const m = model.member(users[s.user] as string, conv)
    const before = m?.hidden.size ?? 0
    for (const seq of seqs) {
      const message = model.log(conv)[seq - 1]
      if (m !== undefined && message !== undefined && !message.purged && seq > m.joined && seq > m.cleared) m.hidden.add(seq)
    }
    assert.strictEqual(count, (m?.hidden.size ?? 0) - before)
  } else if (s.do === 'clear') {
    const conv = convs[s.conv] as string
    await store.clear(users[s.user] as string, conv)
    const m = model.member(users[s.user] as string, conv)
    if (m !== undefined && model.log(conv).length > 0) {
      m.cleared = m.read = model.log(conv).length
      m.hidden.clear()
    }
  } else if (s.do === 'join' || s.do === 'leave') {
    const gid = gids[s.gid] as string
    const user = users[s.user] as string
    await store.commit([s.do === 'join' ? { op: 'member', gid, user, role: 'member' } : { op: 'member.drop', gid, user }])
    if (s.do === 'leave') model.members.delete(`${user} g:${gid}`)
    else if (model.member(user, `g:${gid}`) === undefined) model.put(user, `g:${gid}`)
  } else if (s.do === 'drop') {
    const gid = gids[s.gid] as string
    await store.commit([{ op: 'group.drop', gid }])
    for (const user of users) model.members.delete(`${user} g:${gid}`)
    for (const message of model.log(`g:${gid}`)) message.purged = true
  } else {
    const before = w.clock - s.back
    // Several purges with a small limit are one with a large one.
    while (await store.purge(before, s.limit) >= s.limit);
    for (const [conv, log] of model.logs) {
      for (const message of log) {
        if (message.ts >= before || message.purged) continue
        message.purged = true
        for (const user of users) model.member(user, conv)?.hidden.delete(message.seq)
      }
    }
  }
}

async function compare ({ store, model, clock, expiry }: World): Promise<void> {
  for (const user of users) {
    const rows = await store.memberships(user, { limit: 99 })
    assert.deepStrictEqual(rows.map(row => row.conv), model.conversations(user))
    const heads = await store.heads(rows.map(row => row.conv))
    const listed = await store.conversations(user, { limit: 99 })
    // Now, and when more has expired; by what is remembered of earlier steps, and by what is read anew.
    for (const now of [clock, clock + 2, clock + 12]) {
      const expected = rows.map(row => model.unread(user, row.conv, now))
      for (const source of [expiry, new Expiry(store)]) {
        const expired = await source.unread(listed, now)
        assert.deepStrictEqual(rows.map((row, i) => unreadOf(row, heads[i]?.n ?? 0, expired[i] as number)), expected, `unread of ${user}`)
      }
    }
    assert.deepStrictEqual(listed, rows.map((member, i) => ({ member, head: heads[i] ?? { seq: 0, n: 0, ts: 0 } })))
    assert.deepStrictEqual(await store.membersAt(rows), rows)
    const newest = listed.map(({ member, head }) => ({ conv: member.conv, seq: head.seq }))
    assert.deepStrictEqual(await store.hiddenAt(user, newest), newest.map(({ conv, seq }) => model.hidden(user, conv).includes(seq)))
    for (const row of rows) {
      assert.deepStrictEqual(await store.member(user, row.conv), row)
      assert.deepStrictEqual(await store.hidden(user, row.conv, 0, 999), model.hidden(user, row.conv))
    }
  }
  const last = convs.map(conv => model.log(conv).at(-1))
  const found = await store.messagesAt(convs.map((conv, i) => ({ conv, seq: last[i]?.seq ?? 0 })))
  assert.deepStrictEqual(found.map(m => m?.id), last.map(m => m?.purged === false ? m.id : undefined))
  for (const conv of convs) {
    assert.deepStrictEqual((await store.messages(conv, { limit: 999 })).map(m => m.id), model.log(conv).filter(m => !m.purged).map(m => m.id))
  }
  for (const gid of gids) {
    assert.strictEqual(await store.groupSize(gid), users.filter(user => model.member(user, `g:${gid}`) !== undefined).length)
  }
}

/**
 * Compares stores with the model after every step of random histories. `fresh` names a new, empty store for each history:
 * `open` opens it, also again after it was closed.
 */
export async function checkAgainstModel (fresh: () => { open: () => Promise<Store> }, options: { runs: number, maxSteps: number }): Promise<void> {
  const property = fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: options.maxSteps, size: 'max' }), async steps => {
    const { open } = fresh()
    const first = await open()
    const world: World = {
      store: first,
      expiry: new Expiry(first),
      model: new Model(),
      clock: 1000,
      made: 0,
      reopen: async () => {
        await world.store.close()
        return await open()
      }
    }
    try {
      for (const s of steps) {
        await run(world, s)
        await compare(world)
      }
      world.store = await world.reopen()
      world.expiry = new Expiry(world.store)
      await compare(world)
    } finally {
      await world.store.close()
    }
  })
  const { FC_RUNS, FC_SEED } = process.env
  await fc.assert(property, { endOnFailure: true, numRuns: Number(FC_RUNS ?? options.runs), ...(FC_SEED === undefined ? {} : { seed: Number(FC_SEED) }) })
}
