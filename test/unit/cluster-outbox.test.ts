/** What an engine says on its way to other servers: who gets it, and what there is no room for. */
import t from 'tap'
import pino from 'pino'
import type { Link } from '../../broker/cluster/link.ts'
import { Outbox } from '../../broker/cluster/outputs.ts'
import { served, Told } from '../../broker/cluster/told.ts'
import type { Output } from '../../broker/link/port.ts'
import type { Operation, Outcome } from '../../broker/store/store.ts'

interface World { outbox: Outbox, told: Array<[server: string, kinds: string[]]>, lost: string[] }

/** Two other servers; `wants` has the keys of the directory that each has. */
function world (wants: Record<string, string[]> | Error, maxBytes = 100_000, knowing?: Told): World {
  const told: World['told'] = []
  const lost: string[] = []
  const link = {
    isAlone: false,
    others: ['two', 'three'],
    tell: (server: string, _kind: string, body: Array<{ kind: string }>) => { told.push([server, body.map(({ kind }) => kind)]) },
    lost: (server: string) => { lost.push(server) }
  } as unknown as Link
  const interest = {
    wanted: async (servers: readonly string[]) => {
      if (wants instanceof Error) throw wants
      return new Map(servers.map(server => [server, new Set(wants[server] ?? [])]))
    }
  }
  return { outbox: new Outbox({ link, interest, maxBytes, ...knowing !== undefined && { told: knowing }, log: pino({ level: 'silent' }) }), told, lost }
}

const notice = (user: string, bytes = 10): Output => ({ kind: 'notice', user, payload: Buffer.alloc(bytes, 'x') })
const event = (user: string, bytes = 10): Output => ({ kind: 'event', user, seq: 1, payload: Buffer.alloc(bytes, 'x') })

await t.test('a notice goes to the servers that have sessions of its user', async t => {
  const { outbox, told, lost } = world({ two: ['u:alice'], three: ['u:bob'] })
  outbox.push([notice('alice'), event('bob')])
  await outbox.settled()
  t.same([told, lost], [[['two', ['notice']], ['three', ['event']]], []])
})

await t.test('notices that find no room are left out, and nothing else with them', async t => {
  const { outbox, told, lost } = world({ two: ['u:alice'] }, 10_000)
  const flood = Array.from({ length: 50 }, () => notice('alice', 300))
  outbox.push([...flood, event('alice', 300), event('alice', 300)])
  await outbox.settled()
  const [[, kinds = []] = []] = told
  t.equal(kinds.filter(kind => kind === 'event').length, 2)
  t.equal(kinds.filter(kind => kind === 'notice').length, 10, 'half of the room is for notices')
  t.same(lost, [], 'nobody has to look anything up')
})

await t.test('when it cannot be told who reads, only what is stored is given for lost', async t => {
  const notices = world(new Error('away'))
  notices.outbox.push([notice('alice')])
  await notices.outbox.settled()
  t.same([notices.told, notices.lost], [[], []])
  const events = world(new Error('away'))
  events.outbox.push([notice('alice'), event('alice')])
  await events.outbox.settled()
  t.same([events.told, events.lost], [[], ['two', 'three']])
})

await t.test('a server that has told its sessions by itself is not told; what its answer left out it is', async t => {
  const known = new Told()
  const message: Operation = { op: 'message', conv: 'd:alice:bob', from: 'alice', id: 'i1', ts: 1, counts: true, marksSender: false, content: '"id":"i1"' }
  const receipt: Operation = { op: 'event', user: 'bob', slot: 'read d:alice:bob', mark: 1, ts: 1, content: '{}' }
  const outcome = (seq: number, replay = false): Outcome => ({ id: 'i1', seq, n: seq, ts: 1, replay })
  const { outputs, answer } = served([message, receipt, message], [outcome(5), outcome(3), outcome(4, true)])
  t.same(outputs.map(output => [output.kind, 'seq' in output ? output.seq : 0]), [['message', 5], ['event', 3]], 'no repeat')
  known.note('two', [message, receipt, message], answer)
  const { outbox, told } = world({ two: ['u:bob'], three: ['u:bob'] }, 100_000, known)
  const output = (seq: number): Output => ({ kind: 'message', conv: 'd:alice:bob', seq, from: 'alice', payload: Buffer.from('{}') })
  outbox.push([output(4), output(5), { kind: 'event', user: 'bob', seq: 3, payload: Buffer.from('{}') }])
  await outbox.settled()
  t.same(told, [['two', ['message']], ['three', ['message', 'message', 'event']]])
  known.note('two', [message], [outcome(6)])
  outbox.push([output(6)])
  await outbox.settled()
  t.same(told.slice(2), [['two', ['message']], ['three', ['message']]], 'it does not know of it: an earlier version')
})
