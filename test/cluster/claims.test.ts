/** Who has which session, as Redis keeps it, and how a server asks another one for a session. */
import { EventEmitter } from 'node:events'
import { pino } from 'pino'
import t from 'tap'
import { Claims } from '../../broker/cluster/claims.ts'
import { PeerUnavailableError } from '../../broker/cluster/link.ts'
import { connectRedis } from '../../broker/cluster/redis.ts'
import { ClusterSeats } from '../../broker/cluster/seats.ts'
import { View, type NodeInfo } from '../../broker/cluster/view.ts'
import type { Released } from '../../broker/link/remote.ts'
import { until } from '../support/mailbox.ts'
import { startRedis } from '../support/redis.ts'

const log = pino({ level: 'silent' })
const redis = await startRedis(t, { appendonly: false })
const session = 'bob/ein Gerät mit Leerzeichen'
const seat = (epoch: string, openedAt: number) => ({ session, epoch, openedAt })
const info = (id: string): NodeInfo => ({ id, name: id, version: '1', addresses: [], region: '', room: '', draining: false, connections: 0, startedAt: 0 })

if (redis !== undefined) {
  const client = connectRedis({ url: redis.url, timeoutMs: 1000, log }, 'commands')
  t.teardown(() => { client.disconnect() })
  await until(() => client.status === 'ready', 5_000, 'the connection')
  const raw = redis.client()
  const key = `x:at:${session}`

  await t.test('claims', async t => {
    const live = new Set(['a', 'b'])
    const [a, b, gone] = ['a', 'b', 'gone'].map(self => new Claims({ redis: client, namespace: 'x', self, live: () => live })) as [Claims, Claims, Claims]
    t.equal(await a.take(seat('a1', 100)), undefined)
    t.same(await b.take(seat('b1', 90)), { node: 'a', epoch: 'a1' }, 'who takes it has it, whatever its clock says')
    t.ok(await raw.ttl(key) > 3600, 'what nobody removes ends by itself')
    await a.leave(seat('a1', 100))
    t.equal(await raw.get(key), 'b 90 b1', 'only one\'s own is removed')
    t.same(await a.keep(seat('a1', 100)), { mine: true, holder: { node: 'b', epoch: 'b1' } }, 'the later one has it')
    t.same(await b.keep(seat('b1', 90)), { mine: false, holder: { node: 'a', epoch: 'a1' } })
    t.same(await a.keep(seat('a1', 100)), { mine: true }, 'renewed')
    t.same(await b.keep(seat('b2', 100)), { mine: true, holder: { node: 'a', epoch: 'a1' } }, 'of two at once one')
    t.same(await a.keep(seat('a1', 100)), { mine: false, holder: { node: 'b', epoch: 'b2' } })
    await gone.take(seat('g1', 1000))
    t.same(await a.keep(seat('a1', 100)), { mine: true }, 'what a server left that is gone counts for nothing')
    await a.leave(seat('a1', 100))
    t.equal(await raw.exists(key), 0)
    t.same(await b.keep(seat('b2', 100)), { mine: true }, 'what Redis has lost is there again')
    await raw.set(key, 'rubbish')
    t.same(await a.keep(seat('a1', 100)), { mine: true })
    await raw.del(key)
  })

  await t.test('a server asks another one that is there, and goes on asking when that says nothing', async t => {
    const asked: string[] = []
    const beats = new EventEmitter()
    const registry = { view: new View([info('a'), info('b')]), isLinked: true, onBeat: (listener: () => void) => { beats.on('beat', listener) } }
    let answer = (): Promise<unknown> => Promise.resolve({ ended: true })
    const link = {
      on: () => {},
      ask: (node: string, kind: string, body: unknown) => {
        asked.push(`${kind} ${node} ${JSON.stringify(body)}`)
        return answer()
      }
    }
    let steady = 0
    const make = (self: string): ClusterSeats => new ClusterSeats({ redis: client, namespace: 'x', self, link, registry, releaseTimeoutMs: 2000, log, steady: () => steady })
    const [a, b] = [make('a'), make('b')]
    t.equal(await b.claim(seat('b1', 1)), undefined)
    t.same(await a.claim(seat('a1', 2)), { node: 'b', epoch: 'b1' })
    t.equal(await a.claim(seat('a2', 3)), undefined, 'an earlier connection here is its gateway\'s matter')
    t.same(await a.release(session, { node: 'b', epoch: 'b1' }), { ended: true })
    const question = `release b ${JSON.stringify({ session, epoch: 'b1' })}`
    t.same(asked, [question])

    let fail = (_error: Error): void => {}
    answer = () => new Promise((_resolve, reject) => { fail = reject })
    const first = a.release(session, { node: 'b', epoch: 'b1' })
    fail(new PeerUnavailableError('late'))
    t.equal(await first, undefined)
    const second = a.release(session, { node: 'b', epoch: 'b1' })
    t.equal(await second, undefined, 'who let one wait in vain is not waited for')
    t.equal(asked.length, 3, 'but asked')
    answer = () => Promise.resolve<Released>({ ended: false })
    beats.emit('beat')
    t.equal(asked.length, 4, 'and asked again')
    await new Promise(resolve => setImmediate(resolve))
    beats.emit('beat')
    t.equal(asked.length, 4, 'until it has answered')
    answer = () => Promise.reject(new PeerUnavailableError('is gone'))
    registry.view = new View([info('a')])
    await a.release(session, { node: 'b', epoch: 'b1' })
    beats.emit('beat')
    t.equal(asked.length, 5, 'or is gone')
    registry.view = new View([info('a'), info('b')])
    steady += 5000
    answer = () => Promise.reject(new Error('its store failed'))
    t.equal(await a.release(session, { node: 'b' }), undefined)
    registry.view = new View([info('a')])
    t.equal(await a.claim(seat('a3', 4)), undefined)
    for (const one of [a, b]) one.close()
  })

  await t.test('while Redis is away nobody is known to have it, and nothing waits', async t => {
    let beat = (): void => {}
    const registry = { view: new View([info('a'), info('b')]), isLinked: true, onBeat: (listener: () => void) => { beat = listener } }
    const seats = new ClusterSeats({ redis: client, namespace: 'x', self: 'a', link: { on: () => {}, ask: () => Promise.reject(new PeerUnavailableError('cannot be reached')) }, registry, releaseTimeoutMs: 2000, log })
    let looks = 0
    const recheck = (): Promise<void> => {
      looks++
      return Promise.resolve()
    }
    seats.serve({ release: () => Promise.resolve({ ended: false }), recheck })
    beat()
    t.equal(looks, 0)
    await redis.kill()
    await until(() => client.status !== 'ready', 5_000, 'the connection to break')
    t.equal(await seats.claim(seat('a1', 1)), undefined)
    t.same(await seats.keep(seat('a1', 1)), { mine: true }, 'nobody is told to go')
    seats.leave(seat('a1', 1))
    t.equal(await seats.release(session, { node: 'b', epoch: 'b1' }), undefined)
    registry.isLinked = false
    t.equal(await seats.claim(seat('a1', 1)), undefined)
    beat()
    t.equal(looks, 0, 'not before Redis answers')
    registry.isLinked = true
    for (let times = 0; times < 2; times++) beat()
    t.equal(looks, 1, 'a claim that could not be made is looked at again, however short that was')
    seats.close()
  })
}
