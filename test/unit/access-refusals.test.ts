/** Every CONNECT has its answer, and the log a line that says who was refused and why. */
import { pino, type Logger } from 'pino'
import t from 'tap'
import { Refusal } from '../../broker/errors.ts'
import type { Gateway } from '../../broker/gateway/gateway.ts'
import { PerSecond } from '../../broker/per-second.ts'
import { bench, settled } from '../support/memory-client.ts'

type Line = Record<string, unknown>

function recorder (): { log: Logger, lines: Line[] } {
  const lines: Line[] = []
  return { log: pino({ level: 'info', base: null }, { write: (line: string) => { lines.push(JSON.parse(line) as Line) } }), lines }
}

/** So many takeovers of a session, all within one second. */
function takeovers (access: Gateway, most: number): void {
  const second = new PerSecond(most, () => 0)
  Object.assign(access.takeovers, { has: (id: string) => second.has(id), take: (id: string) => second.take(id) })
}

for (const call of ['authenticate', 'openSession'] as const) {
  await t.test(`an outage answers CONNECT: ${call} fails`, async t => {
    const { log, lines } = recorder()
    const { engine, client, access } = bench(t, {}, undefined, [], log)
    engine.holding.add(call)
    for (const version of [4, 5] as const) {
      const one = client({ version })
      one.hello('bob', { clientId: `c${version}` })
      await settled(engine)
      engine.next().fail(new Error('the disk is gone'))
      await settled(engine)
      t.match(one.packets.waiting, [version === 5 ? { cmd: 'connack', reasonCode: 0x88 } : { cmd: 'connack', returnCode: 3 }])
      t.ok(one.closed)
    }
    t.match(lines.filter(({ level }) => level === 40), [{ msg: 'a CONNECT could not be answered', user: 'bob', clientId: 'c4', address: '192.0.2.1', reason: 'the disk is gone' }, { clientId: 'c5' }])
    t.notOk(lines.some(({ level, err }) => Number(level) >= 50 || err !== undefined), 'no stacks')
    t.equal(access.sessions.connections.size, 0)
  })
}

await t.test('a refusal of the session itself is answered', async t => {
  const { log, lines } = recorder()
  const { engine, client } = bench(t, {}, undefined, [], log)
  engine.holding.add('openSession')
  const one = client({ version: 5 })
  one.hello('bob', { clientId: 'c' })
  await settled(engine)
  engine.next().fail(new Refusal('rate_limited', 'too many sessions'))
  await settled(engine)
  t.match(one.packets.waiting, [{ cmd: 'connack', reasonCode: 0x97 }])
  t.match(lines, [{ level: 30, msg: 'connection refused', code: 'rate_limited', reason: 'too many sessions', user: 'bob', clientId: 'c', address: '192.0.2.1' }])
})

await t.test('too many connections at once for one session', async t => {
  const { log, lines } = recorder()
  const { engine, client, access } = bench(t, {}, undefined, [], log)
  Object.assign(access.locks, { pause: async () => {} })
  engine.holding.add('openSession')
  const crowd = Array.from({ length: 20 }, (_, i) => client({ version: i % 2 === 0 ? 4 : 5 }))
  for (const one of crowd) one.hello('bob', { clientId: 'same' })
  await settled(engine)
  const refused = crowd.filter(one => one.closed)
  t.equal(refused.length, 12)
  for (const one of refused) t.match(one.packets.waiting, [one.version === 5 ? { cmd: 'connack', reasonCode: 0x97 } : { cmd: 'connack', returnCode: 3 }])
  t.notOk(lines.some(({ level, err }) => Number(level) >= 40 || err !== undefined))
})

await t.test('takeoversPerSecond: a session that is fought for stays where it is', async t => {
  const { log, lines } = recorder()
  const { engine, client, access } = bench(t, {}, undefined, [], log)
  // All within one second, however slow this machine is.
  let pauses = 0
  takeovers(access, 3)
  Object.assign(access.locks, { pause: async () => { pauses++ } })
  let asked = 0
  const { authenticate } = engine
  engine.authenticate = async (...args) => { asked++; return await authenticate.apply(engine, args) }
  const crowd = []
  for (let i = 0; i < 30; i++) {
    const one = client()
    one.hello('bob', { clientId: 'same' })
    await settled(engine)
    crowd.push(one)
  }
  const open = crowd.filter(one => !one.closed)
  t.equal(open.length, 1)
  t.equal(open[0], crowd[3], 'the fourth had it last')
  t.match(crowd[29]?.packets.waiting, [{ cmd: 'connack', returnCode: 3 }])
  t.equal(asked, 4, 'the others were refused before anybody asked for their passwords')
  t.equal(access.sessions.connected.size, 1)
  t.equal(pauses, 26, 'and had to wait for it')
  t.equal((await client().connect('bob', { clientId: 'another' })).returnCode, 0)
  t.match(lines.filter(({ msg }) => msg === 'disconnected').length, 3)
  t.match(lines.find(({ msg }) => msg === 'disconnected'), { user: 'bob', clientId: 'same', address: '192.0.2.1', reason: /taken over/ })
})

await t.test('a stop does not wait for those who wait for their refusal', async t => {
  const { engine, client, access } = bench(t)
  takeovers(access, 0)
  const [first, second] = [client(), client()]
  await first.connect('bob', { clientId: 'same' })
  second.hello('bob', { clientId: 'same' })
  await settled(engine)
  t.notOk(second.closed)
  t.notOk(first.closed, 'who has the session keeps it')
  await access.close()
  await settled(engine)
  t.ok(second.closed)
})

await t.test('a user name that is none may be a password in the wrong place', async t => {
  const { log, lines } = recorder()
  const { engine, client } = bench(t, {}, undefined, [], log)
  client().hello('hunter2 hunter2', { clientId: 'c' })
  await settled(engine)
  t.match(lines, [{ code: 'bad_payload', clientId: 'c' }])
  t.notMatch(JSON.stringify(lines), 'hunter2')
})

await t.test('a client that goes while its CONNECT is being answered leaves no error', async t => {
  const { log, lines } = recorder()
  const { engine, client } = bench(t, {}, undefined, [], log)
  for (const call of ['authenticate', 'openSession'] as const) {
    engine.holding.add(call)
    const one = client()
    one.hello('bob', { clientId: 'c' })
    await settled(engine)
    one.lose()
    await settled(engine)
    engine.next().fail(new Error('too late'))
    await settled(engine)
    engine.holding.clear()
  }
  t.strictSame(lines, [])
})
