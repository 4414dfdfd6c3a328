/** A machine whose clock is set back, over restarts: ids, times and the order of lists. On every store. */
import { pino } from 'pino'
import t from 'tap'
import type { Test } from 'tap'
import { createEngine, type EngineInstance } from '../../broker/engine/engine.ts'
import type { Output, Submission } from '../../broker/link/port.ts'
import { openLevelStore } from '../../broker/store/level/store.ts'
import { openMongoStore } from '../../broker/store/mongodb/store.ts'
import type { Store } from '../../broker/store/store.ts'
import { Topics } from '../../broker/topics.ts'
import { limits } from '../support/engine-bench.ts'
import { mongodbServer } from '../support/mongodb.ts'

const hour = 3_600_000
const year = 365 * 24 * hour

interface Message { id: string, ts: number, seq: number, conv: string }

/** A server that is started again and again on one store. */
class Machine {
  wall = 1_790_000_000_000
  steady = 5
  readonly sent: Message[] = []
  readonly #open: () => Promise<Store>
  readonly #topics = new Topics()
  #store: Store | undefined
  #engine: EngineInstance | undefined
  #ref = 0
  #verdicts = new Map<number, (answer: Uint8Array | undefined) => void>()

  constructor (open: () => Promise<Store>) { this.#open = open }

  get store (): Store { return this.#store as Store }

  async start (): Promise<void> {
    this.#store = await this.#open()
    this.#engine = await createEngine({
      store: this.#store,
      limits,
      mode: 'dev',
      log: pino({ level: 'silent' }),
      plugins: [],
      receiptIntervalMs: 10,
      now: () => this.wall,
      steady: () => this.steady,
      output: outputs => { for (const output of outputs) this.#output(output) }
    })
  }

  async stop (): Promise<void> {
    await this.#engine?.close()
    await this.#store?.close()
  }

  async restart (): Promise<void> {
    await this.stop()
    await this.start()
  }

  pass (ms: number): void { this.wall += ms; this.steady += ms }

  submit (from: string, topic: string, payload: string): Promise<Uint8Array | undefined> {
    const target = this.#topics.target(topic)
    if ('refuse' in target) throw new Error(target.reason)
    const ref = ++this.#ref
    const submission: Submission = { ref, session: `${from}/x`, user: from, target, payload: Buffer.from(payload), qos: 1, packetId: ref, dup: false }
    const answer = new Promise<Uint8Array | undefined>(resolve => { this.#verdicts.set(ref, resolve) })
    this.#engine?.submit([submission])
    return answer
  }

  async send (from: string, to: string): Promise<Message> {
    await this.submit(from, `im/to/u/${to}`, 'x')
    return this.sent.at(-1) as Message
  }

  async list (user: string): Promise<string[]> {
    const answer = await this.submit(user, 'im/rpc/conversations.list', '{"rid":"1"}')
    const { result } = JSON.parse(Buffer.from(answer as Uint8Array).toString()) as { result: { conversations: Array<{ conv: string }> } }
    return result.conversations.map(({ conv }) => conv)
  }

  #output (output: Output): void {
    if (output.kind === 'message') this.sent.push(JSON.parse(Buffer.from(output.payload).toString()) as Message)
    if (output.kind === 'verdict') {
      this.#verdicts.get(output.ref)?.(output.ok === true ? output.answer : undefined)
      this.#verdicts.delete(output.ref)
    }
  }
}

const ascending = (values: readonly string[]): boolean => values.every((value, at) => at === 0 || (values[at - 1] as string) < value)

async function cases (t: Test, open: (t: Test) => () => Promise<Store>): Promise<void> {
  const machine = async (t: Test): Promise<Machine> => {
    const one = new Machine(open(t))
    await one.start()
    t.teardown(() => one.stop())
    return one
  }

  await t.test('set back by three hours, while it runs and over restarts', async t => {
    const one = await machine(t)
    for (const back of ['running', 'restart', 'restart']) {
      for (let i = 0; i < 5; i++) {
        await one.send('alice', i % 2 === 0 ? 'bob' : 'carol')
        one.pass(1_000)
      }
      t.strictSame(await one.list('alice'), ['d:alice:bob', 'd:alice:carol'], 'the newest first')
      await one.send('alice', 'carol')
      one.pass(1_000)
      t.strictSame(await one.list('alice'), ['d:alice:carol', 'd:alice:bob'])
      one.wall -= 3 * hour
      if (back === 'restart') await one.restart()
    }
    t.ok(ascending(one.sent.map(({ id }) => id)), 'ids grow')
    for (const conv of ['d:alice:bob', 'd:alice:carol']) {
      const times = one.sent.filter(message => message.conv === conv).map(({ ts }) => ts)
      t.strictSame(times, times.toSorted((a, b) => a - b), `times of ${conv} do not go back`)
    }
    const stored = await one.store.messages('d:alice:bob', { limit: 100 })
    t.strictSame(stored.map(({ ts }) => ts), one.sent.filter(({ conv }) => conv === 'd:alice:bob').map(({ ts }) => ts))
    t.equal(await one.store.newest(), one.sent.at(-1)?.ts)
    one.pass(20 * hour)
    t.equal((await one.send('alice', 'bob')).ts, one.wall, 'in the end the time is right again')
  })

  await t.test('ten years ahead by mistake, and corrected', async t => {
    const one = await machine(t)
    await one.send('alice', 'bob')
    one.wall += 10 * year
    await one.send('alice', 'bob')
    one.wall -= 10 * year
    const corrected = one.wall
    t.equal((await one.send('alice', 'bob')).ts, corrected, 'messages are not stamped with it for ten years')
    for (let start = 0; start < 3; start++) {
      await one.restart()
      for (let i = 0; i < 50; i++) t.equal((await one.send('alice', 'bob')).ts, one.wall)
      one.pass(100)
    }
    t.ok(ascending(one.sent.map(({ id }) => id)), 'ids go on from there, over restarts')
  })

  await t.test('an empty store', async t => {
    const one = await machine(t)
    t.equal(await one.store.newest(), 0)
    t.equal((await one.send('alice', 'bob')).ts, one.wall)
  })
}

await t.test('embedded', async t => {
  await cases(t, t => {
    const path = t.testdir()
    return () => openLevelStore({ path })
  })
})

await t.test('mongodb', async t => {
  const server = await mongodbServer(t)
  if (server === undefined) return
  let made = 0
  await cases(t, () => {
    const database = `${server.database}_${++made}`
    return () => openMongoStore({ url: server.url, database, timeoutMs: 20_000 })
  })
})
