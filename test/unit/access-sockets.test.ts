/** Who has a place, and who gives way. */
import { EventEmitter } from 'node:events'
import type { Socket } from 'node:net'
import t from 'tap'
import { connectionsThatFit, descriptorLimit } from '../../broker/gateway/listener/descriptors.ts'
import { Sockets, type Place } from '../../broker/gateway/listener/sockets.ts'

class FakeSocket extends EventEmitter {
  readonly remoteAddress: string
  destroyed = false
  place: Place | undefined

  constructor (sockets: Sockets, remoteAddress: string) {
    super()
    this.remoteAddress = remoteAddress
    this.place = sockets.enter(this as unknown as Socket)
  }

  destroy (): void { this.destroyed = true }
  close (): void { this.emit('close') }
}

function bench (limits: { connections?: number, connectionsPerAddress?: number }): { sockets: Sockets, full: string[], open: (address?: string) => FakeSocket, known: (address?: string) => FakeSocket } {
  const full: string[] = []
  const sockets = new Sockets({ connections: 1000, connectionsPerAddress: 1000, ...limits }, address => { full.push(address) })
  const open = (address = '192.0.2.1'): FakeSocket => new FakeSocket(sockets, address)
  const known = (address?: string): FakeSocket => {
    const socket = open(address)
    socket.place?.settle(true)
    return socket
  }
  return { sockets, full, open, known }
}

await t.test('connections: those who signed in keep their places, and one that ends makes room', async t => {
  const { sockets, full, open, known } = bench({ connections: 2 })
  const [one, two, three] = [known(), known(), open('192.0.2.9')]
  t.strictSame([one.destroyed, two.destroyed, three.destroyed], [false, false, true])
  t.strictSame(full, ['192.0.2.9'])
  one.close()
  one.close()
  t.equal(sockets.count, 1)
  t.notOk(open().destroyed)
  t.equal(sockets.count, 2)
})

await t.test('connections of an address: one /64 of IPv6 is one, and so is an IPv4 address in either form', async t => {
  const { known } = bench({ connectionsPerAddress: 1 })
  t.strictSame([known('2001:db8:1:2::1'), known('2001:db8:1:2:3::4'), known('2001:db8:1:3::1')].map(one => one.destroyed), [false, true, false])
  t.strictSame([known('192.0.2.1'), known('::ffff:192.0.2.1')].map(one => one.destroyed), [false, true])
})

await t.test('connections: the oldest stranger gives way', async t => {
  const { sockets, open, known } = bench({ connections: 3 })
  const [first, second, bob] = [open('192.0.2.1'), open('192.0.2.2'), known('192.0.2.3')]
  const fourth = open('192.0.2.4')
  t.strictSame([first, second, bob, fourth].map(one => one.destroyed), [true, false, false, false])
  first.close()
  t.equal(sockets.count, 3, 'it is counted once')
  bob.place?.settle(false)
  open('192.0.2.5')
  open('192.0.2.6')
  t.strictSame([second, bob, fourth].map(one => one.destroyed), [true, false, true], 'who is no longer known is the youngest stranger')
})

await t.test('connections: a crowd from one address takes the places of its own', async t => {
  const { open } = bench({ connections: 20 })
  const other = open('192.0.2.2')
  const crowd = Array.from({ length: 100 }, () => open('192.0.2.1'))
  t.notOk(other.destroyed)
  t.equal(crowd.filter(one => !one.destroyed).length, 19)
  t.notOk(open('192.0.2.3').destroyed)
})

await t.test('connectionsPerAddress', async t => {
  const { open, known } = bench({ connectionsPerAddress: 1 })
  const one = known('192.0.2.1')
  t.ok(open('192.0.2.1').destroyed)
  t.notOk(open('192.0.2.2').destroyed)
  one.close()
  const stranger = open('192.0.2.1')
  t.notOk(stranger.destroyed)
  t.notOk(known('192.0.2.1').destroyed)
  t.ok(stranger.destroyed, 'the stranger gives way')
})

await t.test('descriptorReserve: what connections leave', async t => {
  t.equal(connectionsThatFit(100_000, 256, 1024), 768)
  t.equal(connectionsThatFit(500, 256, 1024), 500)
  t.equal(connectionsThatFit(100_000, 256, 300), 150, 'half at most')
  t.equal(connectionsThatFit(100_000, 256, undefined), 100_000)
  t.ok((descriptorLimit() ?? 0) > 10)
})
