/** A receiver that stops reading costs nobody else anything; it is cut off, and loses nothing. */
import t from 'tap'
import { wide, merge } from '../support/configs.ts'
import { within } from '../support/mailbox.ts'
import { device } from '../support/mqtt.ts'
import { RawClient, json } from '../support/raw-client.ts'
import { startServer } from '../support/server.ts'
import { sized } from '../support/store-choice.ts'

const size = sized({ level: 50_000, mongodb: 65_000 })
const count = sized({ level: 400, mongodb: 120 })

await t.test(`${size * count / 1e6} MB offered to a reader that stops reading`, async t => {
  const server = await startServer(t, { config: merge(wide, { mqtt: { limits: { stallTimeoutMs: 1500, inflight: 1000 } } }) })
  const { client: stalled } = await RawClient.connect(t, server.mqttPort, { user: 'bob', clientId: 'phone', clean: false, acknowledge: false })
  await stalled.subscribe('im/u/bob/inbox')
  const { client: radio } = await RawClient.connect(t, server.mqttPort, { user: 'bob', clientId: 'radio', clean: false })
  await radio.subscribe('im/u/bob/inbox', 0)
  stalled.stream.pause()
  radio.stream.pause()

  const alice = await device(t, server.url, 'alice')
  const carol = await device(t, server.url, 'carol')
  await carol.subscribe('im/u/carol/inbox')
  const dave = await device(t, server.url, 'dave')
  for (let i = 0; i < 20; i++) await alice.publish('im/to/u/carol', 'x'.repeat(size))
  for (let i = 0; i < 20; i++) await carol.next('im/u/carol/inbox')
  const baseline = server.rssBytes()
  let peak = baseline
  for (let i = 1; i <= count; i++) {
    await alice.publish('im/to/u/bob', { cid: `c${i}`, body: `${i} ${'x'.repeat(size)}` })
    if (i % 20 !== 0) continue
    await dave.publish('im/to/u/carol', `meanwhile ${i}`)
    t.match(await carol.nextJson('im/u/carol/inbox'), { body: `meanwhile ${i}` }, 'the others still get theirs')
    peak = Math.max(peak, server.rssBytes())
  }
  t.comment(`RSS ${(baseline / 1e6).toFixed()} MB, at most ${(peak / 1e6).toFixed()} MB with ${size * count / 1e6} MB offered to two stalled readers`)
  t.ok(peak - baseline < 150e6, 'the memory of the server is bounded')
  // A paused socket does not notice the end; the server's side is seen by what a new read brings.
  await dave.publish('im/to/u/carol', 'after')
  await carol.next('im/u/carol/inbox')
  await new Promise(resolve => setTimeout(resolve, 4000))
  stalled.stream.resume()
  radio.stream.resume()
  for (const [name, one] of [['QoS 1', stalled], ['QoS 0', radio]] as const) {
    await within(one.closed, 20_000, `the cut after the stall time, ${name}`).then(() => t.pass(name), (cause: Error) => t.fail(cause.message))
  }

  const { client: back, connack } = await RawClient.connect(t, server.mqttPort, { user: 'bob', clientId: 'phone', clean: false })
  t.equal(connack.sessionPresent, true)
  for (let seq = 1; seq <= count; seq++) {
    const one = json(await back.next('im/u/bob/inbox', 30_000))
    if (one.seq !== seq || !(one.body as string).startsWith(`${seq} `)) { t.fail(`expected ${seq}, got ${one.seq}`); break }
  }
  await back.ping()
  t.pass('everything came, in order, after it had come back')
})

await t.test('an idle receiver that never acknowledges is not cut off', async t => {
  const server = await startServer(t, { config: merge(wide, { mqtt: { limits: { stallTimeoutMs: 500, inflight: 5 } } }) })
  const { client: bob } = await RawClient.connect(t, server.mqttPort, { user: 'bob', acknowledge: false })
  await bob.subscribe('im/u/bob/inbox')
  const alice = await device(t, server.url, 'alice')
  for (let i = 1; i <= 10; i++) await alice.publish('im/to/u/bob', `message ${i}`)
  const ids: number[] = []
  for (let i = 1; i <= 5; i++) ids.push((await bob.next('im/u/bob/inbox')).messageId)
  await new Promise(resolve => setTimeout(resolve, 1500))
  await bob.ping()
  t.equal(bob.received, 5, 'the in-flight window holds')
  for (const id of ids) bob.puback(id)
  for (let seq = 6; seq <= 10; seq++) t.match(json(await bob.next('im/u/bob/inbox')), { seq }, 'acknowledgements make room')
  await bob.ping()
  t.equal(bob.received, 10)
})

const waiting = sized({ level: 10_000, mongodb: 2000 })

await t.test(`${waiting} messages wait for somebody who is offline [fault 16]`, async t => {
  const server = await startServer(t, { config: wide })
  const { client: alice } = await RawClient.connect(t, server.mqttPort, { user: 'alice' })
  for (let at = 0; at < waiting; at += 500) {
    await Promise.all(Array.from({ length: 500 }, async (_, i) => { await alice.publish('im/to/u/bob', `message ${at + i + 1}`) }))
  }
  const { client: bob } = await RawClient.connect(t, server.mqttPort, { user: 'bob' })
  await bob.subscribe('im/u/bob/inbox')
  for (let seq = 1; seq <= waiting; seq++) {
    const one = json(await bob.next('im/u/bob/inbox', 30_000))
    if (one.seq !== seq || one.body !== `message ${seq}`) { t.fail(`expected ${seq}, got ${JSON.stringify(one)}`); break }
  }
  await bob.ping()
  t.equal(bob.received, waiting, 'complete, in order, once')
})
