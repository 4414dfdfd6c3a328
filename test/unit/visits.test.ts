/** Users without a connection: how many at a time, what is submitted, and that nothing is left of those who have gone. */
import t from 'tap'
import { AnswerRoom, reservedBytes } from '../../broker/gateway/connection/answers.ts'
import { PendingPublishes } from '../../broker/gateway/connection/pending-publishes.ts'
import { Visits, type Asked, type Visit } from '../../broker/gateway/visits.ts'
import type { Waiting } from '../../broker/gateway/delivery/pressure.ts'
import type { Submission, Verdict } from '../../broker/link/port.ts'

interface World { visits: Visits, room: AnswerRoom, submitted: Submission[], hungUp: string[], waiting: Waiting[], pressed: Set<string>, enter: (user: string) => Visit }

/** `queued`: what is submitted is not the engine's yet. */
function world ({ queued = false, rooms = 2 } = {}): World {
  const room = new AnswerRoom(rooms * reservedBytes, rooms * reservedBytes)
  const submitted: Submission[] = []
  const hungUp: string[] = []
  const waiting: Waiting[] = []
  const pressed = new Set<string>()
  const visits = new Visits({
    engine: { hangUp: session => { hungUp.push(session) } },
    tick: { submit: one => { submitted.push(one) }, discard: session => queued ? submitted.filter(one => one.session === session) : [] },
    intake: { take: () => {} },
    pending: new PendingPublishes(),
    pump: { pressure: { on: (conv: string) => pressed.has(conv), wait: (_conv: string, one: Waiting) => { waiting.push(one) } } as never },
    answerRoom: room
  }, { visits: 3, visitsPerUser: 2 })
  const enter = (user: string): Visit => {
    const visit = visits.enter(user)
    if (typeof visit === 'string') throw new Error(visit)
    return visit
  }
  return { visits, room, submitted, hungUp, waiting, pressed, enter }
}

const asks: Asked = { target: { kind: 'rpc', method: 'unread' }, payload: Buffer.from('{}') }
const sends: Asked = { target: { kind: 'user', id: 'bob' }, payload: Buffer.from('hi'), key: 'k' }
const answered = ({ ref }: Submission, bytes: number): Verdict => ({ kind: 'verdict', ref, ok: true, rid: 'h', answer: new Uint8Array(bytes) })
const stored = ({ ref }: Submission): Verdict => ({ kind: 'verdict', ref, ok: true, conv: 'd:alice:bob', id: 'i', seq: 1 })
const last = (all: readonly Submission[]): Submission => all.at(-1) as Submission

await t.test('so many of one user, so many in all', t => {
  const { visits, enter } = world()
  const first = enter('alice')
  enter('alice')
  t.equal(visits.enter('alice'), 'user')
  enter('bob')
  t.equal(visits.enter('carol'), 'all')
  first.end()
  first.end()
  t.equal(visits.count, 2)
  enter('carol')
  visits.close()
  t.equal(visits.enter('dora'), 'all')
  t.end()
})

await t.test('each has a session of its own', async t => {
  const { visits, submitted, enter } = world()
  const [one, other] = [enter('alice'), enter('alice')]
  const verdicts = [one.ask(sends), other.ask(sends)]
  t.match(submitted, [{ user: 'alice', qos: 0, key: 'k', whole: true, target: sends.target }, { whole: true }])
  t.not(submitted[0]?.session, submitted[1]?.session)
  for (const { session } of submitted) t.match(session, /^alice\/\$http\//)
  for (const one of submitted) t.ok(visits.settled(stored(one)))
  t.match(await Promise.all(verdicts), [{ ok: true, seq: 1 }, { ok: true }])
  t.notOk(visits.settled(stored(last(submitted))), 'once')
})

await t.test('room for answers: taken before, given back when the answer is', async t => {
  const { visits, room, submitted, enter } = world({ rooms: 1 })
  const [one, other] = [enter('alice'), enter('alice')]
  const first = one.ask(asks)
  const second = other.ask(asks)
  t.equal(submitted.length, 1, 'the other one waits')
  t.equal(room.bytes, reservedBytes)
  visits.settled(answered(last(submitted), 1000))
  await first
  t.equal(room.bytes, 1000)
  t.equal(submitted.length, 1, 'there is no room while it is not taken')
  one.end()
  t.equal(submitted.length, 2)
  visits.settled(answered(last(submitted), 500))
  await second
  other.end()
  t.equal(room.bytes, 0)
})

await t.test('who goes away leaves no room taken, whenever', async t => {
  const begun = world()
  const visit = begun.enter('alice')
  const verdict = visit.ask(asks)
  visit.end()
  t.strictSame(begun.hungUp, [last(begun.submitted).session])
  begun.visits.settled({ kind: 'verdict', ref: last(begun.submitted).ref, ok: 'failed' })
  t.match(await verdict, { ok: 'failed' })
  t.equal(begun.room.bytes, 0)

  const queued = world({ queued: true })
  const early = queued.enter('alice')
  const none = early.ask(asks)
  early.end()
  t.match(await none, { ok: 'failed' }, 'the engine never had it')
  t.equal(queued.room.bytes, 0)
  t.notOk(queued.visits.settled(answered(last(queued.submitted), 1)))

  const waits = world({ rooms: 1 })
  const [holder, waiter] = [waits.enter('alice'), waits.enter('alice')]
  const held = holder.ask(asks)
  const waited = waiter.ask(asks)
  waiter.end()
  waits.visits.settled(answered(last(waits.submitted), 10))
  await held
  holder.end()
  t.match(await waited, { ok: 'failed' })
  t.equal(waits.submitted.length, 1)
  t.equal(waits.room.bytes, 0)
})

await t.test('a message is stored whoever waits', t => {
  const { hungUp, enter } = world()
  const visit = enter('alice')
  visit.ask(sends).catch(() => {})
  visit.end()
  t.strictSame(hungUp, [])
  t.end()
})

await t.test('senders wait for readers that keep pace, as on a connection', async t => {
  const { visits, submitted, waiting, pressed, enter } = world()
  pressed.add('d:alice:bob')
  const visit = enter('alice')
  let done = false
  const verdict = visit.ask(sends).then(one => { done = true; return one })
  visits.settled(stored(last(submitted)))
  await Promise.resolve()
  t.strictSame([done, waiting.length], [false, 1])
  waiting[0]?.release()
  t.match(await verdict, { ok: true })
})

await t.test('a kick is heard by those who are there, and by who remembers sign-ins', t => {
  const { visits, enter } = world()
  const heard: string[] = []
  visits.onKick(user => { heard.push(user) })
  const [alice, bob] = [enter('alice'), enter('bob')]
  visits.kick('alice', 'alice/phone', 'unauthorized')
  t.strictSame([alice.kicked, heard], [undefined, ['alice']], 'one session of hers: sign-ins are looked at anew')
  visits.kick('alice', undefined, 'taken_over')
  t.strictSame([alice.kicked, heard], [undefined, ['alice']])
  visits.kick('alice', undefined, 'banned')
  t.strictSame([alice.kicked, bob.kicked, heard], ['banned', undefined, ['alice', 'alice']])
  t.end()
})

await t.test('the end of the server answers who waits', async t => {
  const { visits, room, enter } = world()
  const [one, other] = [enter('alice'), enter('bob')]
  const verdicts = [one.ask(asks), other.ask(sends)]
  visits.close()
  t.match(await Promise.all(verdicts), [{ ok: 'failed' }, { ok: 'failed' }])
  for (const visit of [one, other]) visit.end()
  t.equal(room.bytes, 0)
})

await t.test('nothing waits for room of those who have gone', async t => {
  const { visits, room, submitted, enter } = world({ rooms: 1 })
  const first = enter('alice')
  const taken = first.ask(asks)
  for (let i = 0; i < 100; i++) {
    const other = enter('alice')
    const gone = other.ask(asks)
    other.end()
    t.match(await gone, { ok: 'failed' }, 'while the room is taken')
  }
  let asked = 0
  room.take = () => { asked++; return false }
  visits.settled(answered(last(submitted), 10))
  t.match(await taken, { ok: true })
  first.end()
  t.equal(asked, 0, 'nobody is called when there is room again')
  t.equal(submitted.length, 1)
})
