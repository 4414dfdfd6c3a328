/** Runs: messages of one commit that lie in one row. Every way to read and to remove them, against the plainest model. */
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ClassicLevel } from 'classic-level'
import fc from 'fast-check'
import t from 'tap'
import type { Operation, Store } from '../../broker/store/store.ts'
import { resendCodec } from '../../broker/store/level/codec.ts'
import { inspectLevelDeep } from '../../broker/store/level/deep-inspection.ts'
import { key } from '../../broker/store/level/keys.ts'
import { maxRunLength, maxRunMessages } from '../../broker/store/level/runs.ts'
import { openLevelStore } from '../../broker/store/level/store.ts'
import { conv, numbered } from './operations.ts'

const convs = ['d:a:b', 'd:a:b-', 'd:a:c', 'g:g'] as const
const reader = 'b'
/** Of the first conversation the reader is one side, and of the group a member. */
function isMember (conv: number): boolean { return conv === 0 || conv === 3 }

interface Said { seq: number, id: string, ts: number, n: number, counts: boolean, bytes: number }
interface Log { said: Said[], purged: number, read: number, hidden: Set<number> }

type Step =
  | { do: 'send', turns: Array<{ conv: number, count: number, size: number, counts: boolean }> }
  | { do: 'purge', share: number, limit: number }
  | { do: 'read', conv: number, share: number }
  | { do: 'hide', conv: number, shares: number[] }
  | { do: 'drop', together: boolean }
  | { do: 'reopen' }

const nth = fc.constantFrom(0, 0, 0, 1, 2, 3)
const share = fc.integer({ min: 0, max: 100 })
const turn = fc.record({ conv: nth, count: fc.constantFrom(1, 2, 3, 10, maxRunMessages - 1, maxRunMessages + 1), size: fc.constantFrom(5, 5, 5, 700, maxRunLength), counts: fc.constantFrom(true, true, true, false) })
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('send' as const), turns: fc.array(turn, { minLength: 1, maxLength: 5 }) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('purge' as const), share, limit: fc.constantFrom(1, 7, 33, 1000) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('read' as const), conv: nth, share }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('hide' as const), conv: nth, shares: fc.array(share, { maxLength: 6 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('drop' as const), together: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('reopen' as const) }) }
)

/** Numbers that are as arbitrary as they are the same in each run. */
function dice (seed: number): (below: number) => number {
  let state = seed
  return below => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff
    return (state >>> 8) % below
  }
}

class World {
  readonly logs: Log[] = convs.map(() => ({ said: [], purged: 0, read: 0, hidden: new Set() }))
  store!: Store
  readonly #open: () => Promise<Store>
  #clock = 1000
  #made = 0

  constructor (open: () => Promise<Store>) { this.#open = open }

  async begin (): Promise<void> {
    this.store = await this.#open()
    await this.store.commit(found())
  }

  #said (conv: number, size: number, counts: boolean): Operation {
    const { said } = this.logs[conv] as Log
    const id = `m${++this.#made}`
    const content = `"body":"${id.padEnd(size, 'ü')}"`
    const ts = ++this.#clock
    said.push({ seq: said.length + 1, id, ts, counts, n: (said.at(-1)?.n ?? 0) + (counts ? 1 : 0), bytes: Buffer.byteLength(content) })
    return { op: 'message', conv: convs[conv] as string, from: 'a', id, ts, counts, marksSender: true, content, cid: id }
  }

  async step (step: Step): Promise<void> {
    if (step.do === 'reopen') {
      await this.store.close()
      this.store = await this.#open()
    } else if (step.do === 'send') {
      const lists = step.turns.map(({ conv, count, size, counts }) => Array.from({ length: Math.min(count, size > 5000 ? 3 : 99) }, () => ({ conv, size, counts })))
      // One of each turn after the other, as messages of several senders come.
      const order = Array.from({ length: maxRunMessages + 1 }, (_, i) => lists.flatMap(list => list[i] ?? [])).flat()
      await this.store.commit(order.map(({ conv, size, counts }) => this.#said(conv, size, counts)))
    } else if (step.do === 'purge') {
      const before = 1001 + Math.floor((this.#clock - 1000) * step.share / 100)
      while (await this.store.purge(before, step.limit) >= step.limit);
      for (const log of this.logs) log.purged = Math.max(log.purged, log.said.filter(({ ts }) => ts < before).length)
      for (const log of this.logs) for (const seq of log.hidden) if (seq <= log.purged) log.hidden.delete(seq)
    } else if (step.do === 'read') {
      const log = this.logs[step.conv] as Log
      const seq = Math.ceil(log.said.length * step.share / 100)
      await this.store.advance({ cursors: [], events: [], members: [{ user: reader, conv: convs[step.conv] as string, readSeq: seq }] })
      log.read = Math.max(log.read, seq)
    } else if (step.do === 'hide') {
      const log = this.logs[step.conv] as Log
      const seqs = step.shares.map(share => Math.ceil(log.said.length * share / 100))
      const before = log.hidden.size
      for (const seq of seqs) if (isMember(step.conv) && seq > Math.max(log.purged, this.#joined(step.conv))) log.hidden.add(seq)
      assert.strictEqual(await this.store.hide(reader, convs[step.conv] as string, seqs), log.hidden.size - before)
    } else {
      const log = this.logs[3] as Log
      log.purged = log.said.length
      log.hidden.clear()
      const operations: Operation[] = [{ op: 'group.drop', gid: 'g' }]
      if (step.together) await this.store.commit([...operations, ...found(), this.#said(3, 5, true), this.#said(3, 5, true)])
      else for (const operation of [...operations, ...found()]) await this.store.commit([operation])
      this.#joinedGroup = log.read = log.purged
    }
  }

  #joinedGroup = 0
  #joined (conv: number): number { return conv === 3 ? this.#joinedGroup : 0 }

  async compare (roll: (below: number) => number, ranges: number): Promise<void> {
    const { store } = this
    for (const [i, conv] of convs.entries()) {
      const { said, purged, hidden, read } = this.logs[i] as Log
      const last = said.at(-1)
      assert.deepStrictEqual((await store.heads([conv]))[0], last === undefined ? undefined : { seq: last.seq, n: last.n, ts: last.ts })
      for (let k = 0; k < ranges; k++) {
        const after = roll(said.length + 3) - 1
        const before = [after + 1 + roll(5), roll(said.length + 3), said.length + 1, Infinity][roll(4)] as number
        const limit = [1, 2, 3, 1 + roll(40), 1000][roll(5)] as number
        const newest = roll(2) === 1
        const maxBytes = [Infinity, 1, 100, 3000][roll(4)] as number
        const inside = said.filter(({ seq }) => seq > purged && seq > after && seq < before)
        const wanted = within(newest ? inside.toReversed() : inside, limit, maxBytes)
        if (newest) wanted.reverse()
        const range = { after, before, limit, newest, maxBytes }
        assert.deepStrictEqual((await store.messages(conv, range)).map(shown), wanted.map(known), `${conv} ${JSON.stringify({ ...range, purged, count: said.length })}`)
      }
      const places = Array.from({ length: 30 }, () => roll(said.length + 2))
      const at = await store.messagesAt(places.map(seq => ({ conv, seq })))
      assert.deepStrictEqual(at.map(one => one === undefined ? undefined : shown(one)), places.map(seq => seq > purged && seq <= said.length ? known(said[seq - 1] as Said) : undefined), `${conv} at ${places.join()}`)
      const member = await store.member(reader, conv)
      if (member === undefined) continue
      const seen = Math.max(read, purged)
      assert.strictEqual(member.readN, said[seen - 1]?.n ?? 0, `${conv} read ${read}, purged ${purged}`)
      assert.strictEqual(member.hiddenUnread, [...hidden].filter(seq => seq > seen && said[seq - 1]?.counts === true).length)
      assert.deepStrictEqual(await store.hidden(reader, conv, 0, said.length), [...hidden].sort((a, b) => a - b))
    }
  }
}

function found (): Operation[] {
  return [{ op: 'group', group: { gid: 'g', name: 'G', owner: 'a', createdAt: 5 } }, { op: 'member', gid: 'g', user: reader, role: 'member' }]
}

function within (messages: readonly Said[], limit: number, maxBytes: number): Said[] {
  const found: Said[] = []
  let bytes = 0
  for (const message of messages) {
    bytes += message.bytes
    if (found.length === limit || (bytes > maxBytes && found.length > 0)) break
    found.push(message)
  }
  return found
}

function known ({ seq, id, ts, n, counts, bytes }: Said): unknown { return { seq, id, ts, n, counts, bytes } }
function shown ({ seq, id, ts, n, counts, content }: { seq: number, id: string, ts: number, n: number, counts: boolean, content: string }): unknown {
  return { seq, id, ts, n, counts, bytes: Buffer.byteLength(content) }
}

await t.test('random commits, purges and restarts: every range, single messages, what is hidden and how far is read', async t => {
  const folder = t.testdir()
  let stores = 0
  const { FC_RUNS, FC_SEED } = process.env
  const property = fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 25, size: 'max' }), fc.nat(), async (steps, seed) => {
    const number = ++stores
    const path = join(folder, `store-${number}`)
    const segmentLength = [1, 400, 20_000, 1 << 26][number % 4] as number
    const options = { path, segmentLength, cache: { heads: 2, members: 2, newest: 1000 }, writeBufferBytes: 64 * 1024 }
    const damage: string[] = []
    const world = new World(() => openLevelStore({ ...options, onDamage: row => { damage.push(row) } }))
    const roll = dice(seed)
    await world.begin()
    try {
      for (const one of steps) {
        await world.step(one)
        await world.compare(roll, 12)
      }
      await world.compare(roll, 60)
    } finally {
      await world.store.close()
    }
    assert.deepStrictEqual(damage, [])
    const findings = await inspectLevelDeep(path)
    assert.ok(findings.ok, findings.text)
  })
  await fc.assert(property, { endOnFailure: true, numRuns: Number(FC_RUNS ?? 8), ...(FC_SEED === undefined ? {} : { seed: Number(FC_SEED) }) })
})

await t.test('asked for while a purge removes it, a message is gone, and not damaged', async t => {
  const damage: string[] = []
  let found: unknown
  let purges = false
  const store: Store = await openLevelStore({
    path: join(t.testdir(), 'store'),
    onDamage: row => { damage.push(row) },
    faults: {
      afterWrite: async () => {
        if (!purges) return
        purges = false
        // On the disk the messages are gone, and what lies in memory does not know it yet.
        found = [await store.messagesAt([3, 8, 9].map(seq => ({ conv, seq }))), await store.messages(conv, { limit: 3 })]
      }
    }
  })
  t.teardown(() => store.close())
  await store.commit(numbered(1, 20))
  await store.messages(conv, { limit: 1 })
  purges = true
  t.equal(await store.purge(9, 1000), 8)
  t.match(found, [[undefined, undefined, { seq: 9, id: 'm9' }], [{ seq: 9 }, { seq: 10 }, { seq: 11 }]])
  t.same(damage, [])
})

await t.test('a store of format 3 goes on: its rows, and runs behind them', async t => {
  const folder = t.testdir()
  const path = join(folder, 'store')
  let store = await openLevelStore({ path })
  // Commits of one message each have the rows that format 3 had.
  for (const one of numbered(1, 7)) await store.commit([one])
  await store.hide('b', conv, [3])
  await store.close()
  const now = Date.now()
  const memory = { seq: 5, n: 5, ts: now, id: 'm5', conv, digest: 'd', epoch: 'e1', number: 1 }
  const level = new ClassicLevel<string, string>(join(path, 'db'), { createIfMissing: false })
  await level.put(key.resend('a/phone', 40), resendCodec.encode(memory))
  await level.put(key.resend('a/phone', 41), resendCodec.encode({ ...memory, ts: now - 100_000_000 }))
  await level.put(key.format(), '3')
  await level.close()
  writeFileSync(join(path, 'sabethes.json'), '{"format":3,"kind":"store"}\n')

  store = await openLevelStore({ path, segmentLength: 2000 })
  await store.commit(numbered(8, 5))
  await store.commit(numbered(13, 40))
  await store.commit(numbered(53, 3))
  const wrong: unknown[] = []
  for (let after = 0; after < 56; after++) {
    for (const before of [after + 2, after + 4, 9, 14, 57]) {
      for (const newest of [false, true]) {
        const inside = Array.from({ length: 55 }, (_, i) => i + 1).filter(seq => seq > after && seq < before)
        const found = await store.messages(conv, { after, before, limit: 4, newest })
        if (found.map(({ id }) => id).join() !== (newest ? inside.slice(-4) : inside.slice(0, 4)).map(seq => `m${seq}`).join()) wrong.push({ after, before, newest, found })
      }
    }
  }
  t.same(wrong, [])
  const resend = { session: 'a/phone', packetId: 40, digest: 'd', dup: true, epoch: 'e2', number: 1, proven: 0, last: { epoch: 'e1', proven: 0 } }
  const again: Operation = { op: 'message', conv, from: 'a', id: 'again', ts: now, counts: true, marksSender: true, content: '', resend }
  t.match(await store.commit([again]), [{ seq: 5, id: 'm5', replay: true }])
  t.match(await store.commit([{ ...again, resend: { ...resend, epoch: 'e3', last: { epoch: 'e2', proven: 0 } } }]), [{ seq: 5, id: 'm5', replay: true }])
  t.match(await store.commit(numbered(6, 1)), [{ seq: 6, replay: true }], 'by its cid')
  t.equal(await store.purge(10, 3), 3)
  t.equal(await store.purge(10, 1000), 6)
  t.same((await store.messages(conv, { limit: 2 })).map(({ id }) => id), ['m10', 'm11'])
  t.equal((await store.member('b', conv))?.hiddenUnread, 0)
  await store.close()
  const after = new ClassicLevel<string, string>(join(path, 'db'), { createIfMissing: false })
  t.same(await after.keys({ gt: 'i', lt: 'j' }).all(), [key.resend('a/phone', 40)], 'old memories end with their time')
  await after.close()
  t.match(await inspectLevelDeep(path), { ok: true })
})
