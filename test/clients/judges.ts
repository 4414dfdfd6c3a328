/** What must have happened in each case, by what the program of a client printed. */
import type { Test } from 'tap'
import type { Quirks, Version } from './clients.ts'

/** A line that a program printed. */
export interface Event {
  case: string
  /** connected, subscribed, message, acked, refused, lost, error, end. */
  event: string
  /** Which of its clients saw it. */
  client: string
  topic?: string
  payload?: string
  retain?: boolean
  /** Reason code of a PUBACK or DISCONNECT; absent or null when the client does not tell. */
  reason?: number | null
  /** Of a SUBACK. */
  reasons?: number[]
  session?: boolean
  text?: string | null
}

export interface Row {
  seen: Event[]
  version: Version
  quirks: Quirks
  /** Connects as a user, waits for a message, and returns all of the conversation. */
  receive: (user: string, from: string) => Promise<unknown[]>
}

const of = ({ seen }: Row, event: string, client: string): Event[] => seen.filter(one => one.event === event && one.client === client)
const json = ({ payload = 'null' }: Event): Record<string, unknown> => JSON.parse(payload) as Record<string, unknown>

function acked (t: Test, row: Row, client: string, count: number, codes: number[] = [0]): void {
  const all = of(row, 'acked', client)
  t.equal(all.length, count, `${client}: ${count} acknowledged`)
  for (const { reason } of all) t.ok(reason == null || codes.includes(reason), `${client}: a PUBACK with ${reason ?? 'no reason that is told'}`)
  t.same(of(row, 'refused', client), [], `${client}: nothing refused`)
}

export const judges = {
  /** A message to a user's inbox, with the code that docs/clients.md shows. */
  message: async (t, row) => {
    const { seen } = row
    t.same(seen.filter(({ event }) => ['error', 'refused', 'lost'].includes(event)), [])
    const inbox = of(row, 'message', 'bob').filter(({ topic }) => topic === 'im/u/bob/inbox')
    t.equal(inbox.length, 1)
    t.match(inbox.map(json), [{ v: 1, conv: 'd:alice:bob', seq: 1, cid: 'c-1', from: 'alice', to: 'u/bob', type: 'text', body: 'hello' }])
    acked(t, row, 'alice', 1)
    for (const { reasons } of of(row, 'subscribed', 'bob')) t.ok(reasons === undefined || reasons[0] === 1, 'granted at QoS 1')
  },

  /** What comes while a device is away waits for it, and its subscription is remembered. */
  offline: async (t, row) => {
    acked(t, row, 'alice', 3)
    t.same(of(row, 'message', 'bob').map(json).map(({ seq, body }) => [seq, body]), [[1, 'one'], [2, 'two'], [3, 'three']])
    const sessions = [...of(row, 'connected', 'before'), ...of(row, 'connected', 'bob')].map(({ session }) => session)
    if (row.quirks.hidesSession?.includes(row.version) === true) t.ok(sessions.every(session => session === undefined), 'it does not tell whether there was a session')
    else t.same(sessions, [false, true], 'no session, and then one')
  },

  group: async (t, row) => {
    const [answer] = of(row, 'message', 'alice').filter(({ topic }) => topic === 'im/u/alice-group/rpc/1')
    t.match(answer === undefined ? undefined : json(answer), { rid: '1', ok: true, result: { gid: 'team', added: ['bob-group'] } }, 'answered without a subscription')
    const got = of(row, 'message', 'bob')
    t.ok(got.every(({ topic }) => topic === 'im/g/team'))
    t.match(got.map(json), [{ seq: 1, type: 'system', body: { action: 'create' } }, { seq: 2, from: 'alice-group', to: 'g/team', body: 'hello team' }])
  },

  /** A message that the receiver does not want, and a subscription to somebody else's inbox. */
  refused: async (t, row) => {
    const notices = row.seen.filter(({ topic }) => topic === 'im/u/alice-refused/notice')
    t.match(notices.map(json), [{ kind: 'reject', code: 'blocked', ref: { topic: 'im/to/u/bob-refused' } }])
    const five = row.version === 5
    t.same(of(row, 'refused', 'alice').map(({ reason }) => reason), five ? [0x87] : [], 'by reason code, to those who can hear it')
    const also = row.quirks.acknowledgesRefused?.includes(row.version) === true
    t.equal(of(row, 'acked', 'alice').length, five && !also ? 0 : 1)
    t.same(of(row, 'subscribed', 'alice').map(({ reasons }) => reasons), [[five ? 0x87 : 0x80]])
  },

  /** On an ordinary topic: kept for who comes later, and gone when it is emptied. */
  retained: async (t, row) => {
    const [first] = of(row, 'message', 'bob')
    t.match(first, { topic: 'home/lamp', payload: 'on', retain: true })
    t.match(of(row, 'message', 'carol'), [{ topic: 'home/bell', payload: 'ring', retain: false }])
    t.equal(of(row, 'message', 'carol').length, 1)
    acked(t, row, 'alice', 3, [0, 0x10])
  },

  /** A group of sessions that share the messages of an ordinary topic is a matter of MQTT 5. */
  shared: async (t, row) => {
    const granted = row.version === 5 ? 1 : 0x80
    for (const client of ['one', 'two']) t.same(of(row, 'subscribed', client).map(({ reasons }) => reasons), [[granted]])
    if (row.version === 3) return
    const got = ['one', 'two'].map(client => of(row, 'message', client).map(({ payload }) => payload))
    t.same(got.flat().sort(), Array.from({ length: 10 }, (_, n) => `job ${n}`), 'each job once')
    t.ok(got.every(({ length }) => length > 0), 'both had some')
  },

  /** A payload over the limit: nobody gets it, the sender hears of it, and the next connection works. */
  large: async (t, row) => {
    const { quirks: { tooLarge }, seen } = row
    const lost = of(row, 'lost', 'alice')
    if (row.version === 3) {
      acked(t, row, 'alice', 1)
      t.match(seen.filter(({ topic }) => topic === 'im/u/alice-large/notice').map(json), [{ kind: 'reject', code: 'too_large', ref: { topic: 'im/to/u/bob-large' } }])
      t.same(lost, [])
    } else {
      t.equal(of(row, 'acked', 'alice').length, 0)
      t.same(lost.map(({ reason }) => reason ?? null), tooLarge === undefined ? [0x95] : tooLarge === 'sends nothing, and ends its connection' ? [null] : [])
      if (tooLarge === 'sends nothing, and tells') t.match(of(row, 'refused', 'alice'), [{ text: /maximum packet size/ }])
      if (tooLarge === 'sends nothing, and says nothing') t.same(of(row, 'refused', 'alice'), [])
    }
    acked(t, row, 'again', 1)
    const stored = await row.receive('bob-large', 'alice-large')
    t.match(stored, [{ seq: 1, body: 'small' }])
    t.equal(stored.length, 1, 'the small one alone')
  },

  /** A second connection with the same client id: the first one is told. */
  takeover: async (t, row) => {
    const [lost, ...more] = of(row, 'lost', 'one')
    t.ok(lost !== undefined, 'the first one learns that it is gone')
    t.same(more, [], 'once')
    if (row.version === 5) t.equal(lost?.reason, 0x8e, 'and why')
    acked(t, row, 'two', 1)
  },

  will: async (t, row) => {
    t.match(await row.receive('bob-will', 'alice-will'), [{ from: 'alice-will', type: 'text', body: 'alice is gone' }])
  }
} as const satisfies Record<string, (t: Test, row: Row) => Promise<void>>
