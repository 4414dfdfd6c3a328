/**
 * Messages without client message id over an embedded store that cannot write: what came again on each connection,
 * and was answered on none, is stored once, and what is new is stored.
 */
import t from 'tap'
import type { Test } from 'tap'
import { z } from 'zod'
import type { LoadedPlugin } from '../../broker/engine/plugins/plugin-loader.ts'
import type { Submission } from '../../broker/link/port.ts'
import { openLevelStore } from '../../broker/store/level/store.ts'
import type { ConnectionMark } from '../../broker/store/store.ts'
import { loadedPlugin, openBench } from '../support/engine-bench.ts'
import type { EngineBench } from '../support/engine-bench.ts'
import { until } from '../support/mailbox.ts'

/** A device, its connections, and a disk that is full at times. */
class World {
  readonly bench: EngineBench
  readonly #disk: { full: boolean }
  #epoch = ''
  #last: ConnectionMark | undefined
  #number = 0

  constructor (bench: EngineBench, disk: { full: boolean }) {
    this.bench = bench
    this.#disk = disk
  }

  static async open (t: Test, plugins: LoadedPlugin[] = []): Promise<World> {
    const disk = { full: false }
    const store = await openLevelStore({ path: t.testdir(), retryIntervalMs: 1, faults: { beforeWrite: () => { if (disk.full) throw new Error('No space left on device') } } })
    t.teardown(() => store.close())
    return new World(await openBench(t, { plugins }, store), disk)
  }

  async disk (full: boolean): Promise<void> {
    this.#disk.full = full
    if (!full) await until(() => this.bench.level.health().then(() => true, () => false), 5000, 'the store')
  }

  /** The next connection. `proven`: how far the client is known to have the answers of the one that ends. */
  connect (epoch: string, proven = 0): void {
    if (this.#epoch !== '') this.#last = { epoch: this.#epoch, proven }
    this.#epoch = epoch
    this.#number = 0
  }

  send (body: string, packetId: number, dup: boolean, more: Partial<Submission> = {}): number {
    const resends = { epoch: this.#epoch, ...this.#last === undefined ? {} : { last: this.#last } }
    return this.bench.send('alice', 'im/to/u/bob', body, { packetId, dup, resends, number: ++this.#number, proven: 0, ...more })
  }

  async verdict (body: string, packetId: number, dup: boolean): Promise<unknown> {
    const verdict = await this.bench.verdict(this.send(body, packetId, dup))
    return verdict.ok === true ? 'seq' in verdict && verdict.seq : verdict.ok
  }

  async stored (): Promise<unknown[]> {
    return (await this.bench.level.messages('d:alice:bob', { limit: 100 })).map(({ content }) => (JSON.parse(`{${content}}`) as { body: unknown }).body)
  }
}

await t.test('the answer is lost, and then the disk is full for some connections', async t => {
  const world = await World.open(t)
  world.connect('A')
  t.equal(await world.verdict('ok', 7, false), 1)
  await world.disk(true)
  for (const epoch of ['B', 'C', 'D']) {
    world.connect(epoch)
    t.equal(await world.verdict('ok', 7, true), 'failed')
  }
  await world.disk(false)
  world.connect('E')
  t.equal(await world.verdict('ok', 7, true), 1, 'it is the first one')
  world.connect('F')
  t.equal(await world.verdict('ok', 7, true), 1, 'whose memory has moved')
  world.connect('G')
  world.connect('H')
  t.equal(await world.verdict('ok', 7, true), 2, 'a connection came between on which it was not sent')
})

await t.test('what waits behind the commit that fails was sent too', async t => {
  const world = await World.open(t)
  world.connect('A')
  for (const [i, body] of ['ok', 'no', 'well'].entries()) await world.verdict(body, i + 1, false)
  await world.disk(true)
  world.connect('B')
  const { bench } = world
  const begun = new Promise<void>(resolve => { bench.before = () => { resolve() } })
  const refs = [world.send('ok', 1, true)]
  await begun
  refs.push(world.send('no', 2, true), world.send('well', 3, true))
  for (const ref of refs) t.match(await bench.verdict(ref), { ok: 'failed' })
  t.equal(bench.commits.length, 4, 'the store saw one of them')
  await world.disk(false)
  world.connect('C')
  t.equal(await world.verdict('ok', 1, true), 1)
  t.equal(await world.verdict('no', 2, true), 2)
  t.equal(await world.verdict('well', 3, true), 3)
})

await t.test('what waits for a gate, or behind who does, was sent too', async t => {
  let pass = (): void => {}
  let slow = false
  const gate = loadedPlugin({
    name: 'slow',
    description: '',
    options: z.unknown(),
    timeoutMs: 60_000,
    onFailure: 'pass',
    start: () => ({ onPublish: draft => slow && draft.body === 'no' ? new Promise(resolve => { pass = () => { resolve(undefined) } }) : undefined })
  })
  const world = await World.open(t, [gate])
  const { bench } = world
  world.connect('A')
  for (const [i, body] of ['ok', 'no', 'well'].entries()) await world.verdict(body, i + 1, false)
  slow = true
  await world.disk(true)
  world.connect('B')
  const refs = [world.send('ok', 1, true), world.send('no', 2, true), world.send('well', 3, true)] as const
  t.match(await bench.verdict(refs[0]), { ok: 'failed' })
  pass()
  for (const ref of refs) t.match(await bench.verdict(ref), { ok: 'failed' })
  t.equal(bench.commits.length, 4, 'the store saw one of them')
  slow = false
  await world.disk(false)
  world.connect('C')
  t.equal(await world.verdict('ok', 1, true), 1)
  t.equal(await world.verdict('no', 2, true), 2)
  t.equal(await world.verdict('well', 3, true), 3)
})

await t.test('a new message is no repeat of an old one', async t => {
  const world = await World.open(t)
  world.connect('A')
  t.equal(await world.verdict('ok', 7, false), 1)
  await world.disk(true)
  // The app begins anew, and its packet ids come again.
  world.connect('B')
  t.equal(await world.verdict('ok', 7, false), 'failed')
  world.connect('C')
  t.equal(await world.verdict('ok', 7, true), 'failed')
  await world.disk(false)
  world.connect('D')
  t.equal(await world.verdict('ok', 7, true), 2)

  await world.disk(true)
  world.connect('E')
  t.equal(await world.verdict('ok', 7, true), 'failed', 'a resend that fails')
  t.equal(await world.verdict('ok', 7, false), 'failed', 'and a new message in its place')
  world.connect('F')
  await world.disk(false)
  t.equal(await world.verdict('ok', 7, true), 3)

  await world.disk(true)
  world.connect('G')
  t.equal(await world.verdict('ok', 7, true), 'failed', 'a resend that fails')
  world.connect('H')
  world.connect('I')
  await world.disk(false)
  t.equal(await world.verdict('ok', 7, true), 4, 'a connection came between on which nothing was read')

  await world.disk(true)
  world.connect('J', 1)
  t.equal(await world.verdict('ok', 7, true), 'failed', 'a resend of what is known to be answered')
  await world.disk(false)
  world.connect('K')
  t.equal(await world.verdict('ok', 7, true), 5)

  await world.disk(true)
  world.connect('L')
  t.equal(await world.verdict('ok', 7, true), 'failed')
  world.connect('M', 1)
  await world.disk(false)
  t.equal(await world.verdict('ok', 7, true), 6, 'its connection ended with DISCONNECT: nothing is in doubt')
  t.same(await world.stored(), Array.from({ length: 6 }, () => 'ok'))
})
