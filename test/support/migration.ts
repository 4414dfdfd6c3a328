/** A store with rows of every kind, for tests that move it. */
import { migrate } from '../../broker/migrate/copy.ts'
import type { NewMessage, Store } from '../../broker/store/store.ts'
import { TransferError } from '../../broker/store/transfer.ts'
import type { TransferSource, TransferTarget } from '../../broker/store/transfer.ts'

/** The time of the first message; packet ids are remembered for a day. */
export const start = Math.floor(Date.now() / 1000) * 1000 - 3_600_000

export function text (conv: string, from: string, at: number, more: Partial<NewMessage> = {}): NewMessage {
  return { op: 'message', conv, from, id: `${conv}.${from}.${at}`, ts: start + at, counts: true, marksSender: true, content: `"body":"nr ${at} ✓ \u0000"`, ...more }
}

/** Fills an empty store by its own operations. */
export async function fillStore (store: Store): Promise<void> {
  for (const uid of ['alice', 'bob', '__proto__']) await store.putUser({ uid, createdAt: 5, passwordHash: `$argon2id$${uid}`, ...(uid === 'alice' ? { scram: 'SCRAM-SHA-256$4096:c2FsdA==$c3RvcmVk:c2VydmVy' } : {}), ...(uid === 'bob' ? { banned: true, name: 'Bob' } : {}) })
  await store.setBlock('alice', 'bob', true)
  await store.setBlock('bob', '..', true)
  const meta = JSON.parse('{"color":"red","__proto__":{"a.b":1,"$c":[null,true]}}') as Record<string, unknown>
  await store.commit([
    { op: 'member', gid: 'dev', user: 'alice', role: 'owner' },
    { op: 'member', gid: 'dev', user: 'bob', role: 'member', mutedUntil: start + 9 },
    { op: 'group', group: { gid: 'dev', name: 'Dev', owner: 'alice', createdAt: 5, meta } },
    { op: 'member', gid: 'old', user: 'alice', role: 'owner' },
    { op: 'group', group: { gid: 'old', name: 'Old', owner: 'alice', createdAt: 5 } }
  ])
  for (let i = 1; i <= 30; i++) {
    await store.commit([
      text('d:alice:bob', i % 2 === 0 ? 'alice' : 'bob', i, i % 3 === 0 ? { cid: `c ${i}` } : {}),
      text('g:dev', 'alice', i, { counts: i % 5 !== 0, resend: { session: 'alice/an old device', packetId: i % 4 + 1, digest: `digest ${i}`, dup: false, epoch: 'first', number: i, proven: 0 } }),
      text('g:old', 'alice', i, { marksSender: false, expiresAt: start + 1e9 }),
      { op: 'event', user: 'alice', ts: start + i, content: `{"kind":"read","n":${i}}`, ...(i % 2 === 0 ? { slot: `read d:alice:bob ${i % 6}` } : {}) }
    ])
  }
  await store.hide('alice', 'd:alice:bob', [3, 29, 30])
  await store.hide('bob', 'g:dev', [20, 25, 28])
  await store.commit([{ op: 'member.drop', gid: 'dev', user: '__proto__' }, { op: 'group.drop', gid: 'old' }])
  // The messages of the group that was removed wait for the purge; a new group goes on counting.
  await store.commit([{ op: 'member', gid: 'old', user: 'bob', role: 'admin' }, { op: 'group', group: { gid: 'old', name: 'New', owner: 'bob', createdAt: 6 } }])
  await store.feed.register('audit', { from: 'now', createdAt: start })
  await store.commit([text('g:old', 'bob', 40, { cid: 'first of the new' })])
  await store.purge(start + 6, 5)
  await store.settings('alice', 'd:alice:bob', { pinned: true })
  await store.clear('bob', 'd:alice:bob')
  await store.putSession({
    session: 'alice/phone 1', user: 'alice', clientId: 'phone 1', subscriptions: [{ filter: 'in/#', qos: 1 }], inflight: [{ packetId: 7, stream: 'd:alice:bob', seq: 12 }], expirySeconds: 4294967295, createdAt: start
  })
  await store.advance({
    cursors: [{ session: 'alice/phone 1', stream: 'd:alice:bob', seq: 11, sent: 12 }, { session: 'alice/phone 1', stream: 'e:alice', seq: 3, sent: 3 }],
    members: [{ user: 'alice', conv: 'd:alice:bob', readSeq: 28, deliveredSeq: 29 }],
    events: [{ user: 'alice', deliveredSeq: 17 }]
  })
  await store.records.write([{ key: 'retained/a/ü', value: new Uint8Array([0, 255, 10]) }, { key: 'retained/b', value: new Uint8Array() }], true)
}

/** What a reader sees of the filled store. */
export async function seen (store: Store): Promise<unknown> {
  const records: unknown[] = []
  for await (const [key, value] of store.records.range('', '\u{10ffff}')) records.push([key, [...value]])
  const convs = ['d:alice:bob', 'g:dev', 'g:old']
  return {
    heads: await store.heads(convs),
    logs: await Promise.all(convs.map(async conv => await store.messages(conv, { limit: 1000 }))),
    members: await Promise.all(['alice', 'bob', '__proto__'].map(async user => await store.memberships(user, { limit: 100 }))),
    hidden: [await store.hidden('alice', 'd:alice:bob', 0, 100), await store.hidden('bob', 'g:dev', 0, 100)],
    groups: await store.groups({ limit: 10 }),
    sizes: [await store.groupSize('dev'), await store.groupSize('old')],
    groupMembers: [await store.groupMembers('dev', { limit: 10 }), await store.groupMembers('old', { limit: 10 })],
    users: await store.users({ limit: 10 }),
    blocks: [await store.blocks('alice'), await store.blocks('bob')],
    events: await store.events('alice', 0, 100),
    eventHead: await store.eventHead('alice'),
    sessions: await store.sessions({ limit: 10 }),
    cursors: await store.cursors('alice/phone 1', ['d:alice:bob', 'e:alice', 'g:dev']),
    feed: [await store.feed.readers(), await store.feed.end(), await store.feed.read(0, { limit: 100, maxBytes: 1e6 })],
    records
  }
}

/** The target fails at its `nth` write, after the write when `after`: what a crash between two steps leaves. */
export function failing (target: TransferTarget, nth: number, after: boolean): TransferTarget {
  let writes = 0
  return {
    identity: target.identity,
    checkpoint: async () => await target.checkpoint(),
    begin: async checkpoint => { await target.begin(checkpoint) },
    write: async (kind, rows, checkpoint) => {
      const fails = ++writes === nth
      if (!fails || after) await target.write(kind, rows, checkpoint)
      if (fails) throw new TransferError('interrupted')
    },
    finish: async () => { await target.finish() },
    read: (kind, at) => target.read(kind, at),
    estimate: async () => await target.estimate(),
    close: async () => { await target.close() }
  }
}

export async function withStore<T> (opening: Promise<Store>, job: (store: Store) => Promise<T>): Promise<T> {
  const store = await opening
  try {
    return await job(store)
  } finally {
    await store.close()
  }
}

/** Moves a store, and closes both. */
export async function move (opening: [Promise<TransferSource>, Promise<TransferTarget>], wrap = (target: TransferTarget): TransferTarget => target): Promise<Awaited<ReturnType<typeof migrate>>> {
  const results = await Promise.allSettled(opening)
  try {
    for (const result of results) if (result.status === 'rejected') throw result.reason
    const [source, target] = await Promise.all(opening)
    return await migrate(source, wrap(target))
  } finally {
    for (const result of results) if (result.status === 'fulfilled') await result.value.close()
  }
}
