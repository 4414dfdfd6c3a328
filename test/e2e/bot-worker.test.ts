/** The worker that is given away as an example: several of them answer what is written to one bot, each message once, and whoever goes is replaced. */
import t from 'tap'
import type { Test } from 'tap'
import { work, type Question } from '../../examples/bot-worker.ts'
import { RawClient, json } from '../support/raw-client.ts'
import { startServer } from '../support/server.ts'

async function worker (t: Test, url: string, name: string, answer: (question: Question) => Promise<string | undefined>) {
  const client = work({ url, bot: 'echo', worker: name, answer, options: { reconnectPeriod: 20 } })
  const errors: Error[] = []
  client.on('error', err => { errors.push(err) })
  t.teardown(() => { client.end(true) })
  await new Promise<void>(resolve => { client.on('packetreceive', ({ cmd }) => { if (cmd === 'suback') resolve() }) })
  return { client, errors }
}

await t.test('workers answer together', async t => {
  const server = await startServer(t)
  const { client: alice } = await RawClient.connect(t, server.mqttPort, { user: 'alice', clientId: 'phone' })
  await alice.subscribe('im/u/alice/inbox')
  const asked = new Map<string, number[]>()
  const answering = (name: string) => async ({ seq, body }: Question): Promise<string> => {
    const seqs = asked.get(name) ?? []
    asked.set(name, seqs)
    seqs.push(seq)
    return `${String(body)} to you`
  }
  const workers = [await worker(t, server.url, 'echo-1', answering('echo-1')), await worker(t, server.url, 'echo-2', answering('echo-2'))]
  for (let i = 1; i <= 40; i++) await alice.publish('im/to/u/echo', `question ${i}`)
  const answers = new Set<unknown>()
  while (answers.size < 40) {
    const { from, body } = json(await alice.next())
    if (from === 'echo') answers.add(body)
  }
  for (let i = 1; i <= 40; i++) t.ok(answers.has(`question ${i} to you`))
  t.equal([...asked.values()].flat().length, 40, 'none was asked what another one was')
  t.strictSame([...asked.keys()].sort(), ['echo-1', 'echo-2'], 'both had something to do')
  t.strictSame(workers.flatMap(({ errors }) => errors), [])
})

await t.test('one that goes in the middle of its work is replaced, and nothing is answered twice', async t => {
  const server = await startServer(t)
  const { client: alice } = await RawClient.connect(t, server.mqttPort, { user: 'alice', clientId: 'phone' })
  await alice.subscribe('im/u/alice/inbox')
  let stuck = (): void => {}
  const working = new Promise<void>(resolve => { stuck = resolve })
  const never = new Promise<undefined>(() => {})
  const first = await worker(t, server.url, 'echo-1', async () => {
    stuck()
    return await never
  })
  await alice.publish('im/to/u/echo', 'one')
  await working
  await alice.publish('im/to/u/echo', 'two')
  let failed = false
  const second = await worker(t, server.url, 'echo-2', async ({ body }) => {
    if (body === 'two' && !failed) {
      failed = true
      throw new Error('out of memory')
    }
    return `answer to ${String(body)}`
  })
  const answers: unknown[] = []
  const hear = async (count: number): Promise<void> => {
    while (answers.length < count) {
      const { from, body } = json(await alice.next())
      if (from === 'echo') answers.push(body)
    }
  }
  await hear(1)
  t.strictSame(answers, ['answer to two'], 'at the second try, when the worker was back')
  t.ok(failed)
  first.client.end(true)
  await hear(2)
  t.strictSame(answers, ['answer to two', 'answer to one'])
  await alice.publish('im/to/u/echo', 'three')
  await hear(3)
  t.strictSame(answers.at(-1), 'answer to three')
  t.ok(second.client.connected)
})
