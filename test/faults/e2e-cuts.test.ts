/** Connections that are cut: in the middle of a PUBLISH, before the PUBACK, and many that come back at once. */
import type { Socket } from 'node:net'
import t from 'tap'
import { merge, wide } from '../support/configs.ts'
import { RawClient, json } from '../support/raw-client.ts'
import { startServer } from '../support/server.ts'
import { sized } from '../support/store-choice.ts'
import { generate } from 'mqtt-packet'

await t.test("a sender's socket cut mid-PUBLISH and before the PUBACK [fault 13]", async t => {
  const server = await startServer(t, { config: { ...wide, mqtt: { limits: { takeoversPerSecond: 10_000 } } } })
  const rounds = sized({ level: 500, mongodb: 100 })
  const ids = new Map<string, string>()
  const { client: bob } = await RawClient.connect(t, server.mqttPort, { user: 'bob', clientId: 'phone', clean: false })
  await bob.subscribe('im/u/bob/inbox')
  for (let round = 1; round <= rounds; round++) {
    const body = `message ${round}`
    const payload = round % 2 === 0 ? body : JSON.stringify({ cid: `c${round}`, body })
    const packet = { cmd: 'publish' as const, topic: 'im/to/u/bob', payload, qos: 1 as const, dup: false, retain: false, messageId: round }
    const bytes = generate(packet)
    const { client: cut } = await RawClient.connect(t, server.mqttPort, { user: 'alice', clientId: 'pen', clean: false })
    const part = round % 3 === 0 ? bytes.length : 1 + Math.floor(Math.random() * bytes.length)
    await new Promise<void>(resolve => { cut.stream.write(bytes.subarray(0, part), () => resolve()) })
    if (round % 5 === 0) (cut.stream as Socket).resetAndDestroy()
    else cut.cut()
    const { client: again } = await RawClient.connect(t, server.mqttPort, { user: 'alice', clientId: 'pen', clean: false })
    await again.publish('im/to/u/bob', payload, { messageId: round, dup: true })
    again.cut()
  }
  const wrong: string[] = []
  for (let seq = 1; seq <= rounds; seq++) {
    const one = json(await bob.next('im/u/bob/inbox'))
    if (one.seq !== seq || one.body !== `message ${seq}`) wrong.push(`${seq}: got ${one.seq} '${String(one.body)}'`)
    ids.set(one.id as string, one.body as string)
  }
  await bob.ping()
  t.same(wrong.slice(0, 10), [], 'each once, in order')
  t.equal(ids.size, rounds)
  t.equal(bob.received, rounds, 'and nothing more')
})

const count = sized({ level: 2000, mongodb: 150 })

await t.test(`${count} clients come back at once [fault 15]`, async t => {
  // What reads slowly answers the last of them late: nobody is turned away for that here.
  const config = merge(wide, { mqtt: { limits: { connectTimeoutMs: sized({ level: 5_000, mongodb: 30_000 }) } } })
  const server = await startServer(t, { config })
  const connectAll = async (fresh: boolean): Promise<RawClient[]> => {
    const clients: RawClient[] = []
    const at = Array.from({ length: count }, (_, i) => i)
    const step = fresh ? 100 : count
    for (let from = 0; from < count; from += step) {
      clients.push(...await Promise.all(at.slice(from, from + step).map(async i => {
        const { client, connack } = await RawClient.connect(t, server.mqttPort, { user: `u${i}`, clientId: 'phone', clean: false })
        if (connack.returnCode !== 0 || connack.sessionPresent === fresh) throw new Error(`u${i}: ${JSON.stringify(connack)}`)
        if (fresh) await client.subscribe(`im/u/u${i}/inbox`)
        return client
      })))
    }
    return clients
  }
  const first = await connectAll(true)
  const { client: alice } = await RawClient.connect(t, server.mqttPort, { user: 'alice', clientId: 'pen', clean: false })
  await alice.publish('im/to/u/u0', 'hello')
  await server.kill9()
  await Promise.all(first.map(async client => { await client.closed }))
  await server.restart()
  const { client: again } = await RawClient.connect(t, server.mqttPort, { user: 'alice', clientId: 'pen', clean: false })
  for (let i = 0; i < count; i += 10) await again.publish(`im/to/u/u${i}`, `while u${i} was away`)
  const began = Date.now()
  const back = await connectAll(false)
  t.comment(`${count} clients are back after ${Date.now() - began} ms`)
  t.ok(Date.now() - began < 30_000, 'all back within 30 s')
  const wrong: string[] = []
  for (let i = 0; i < count; i += 10) {
    const client = back[i] as RawClient
    let body: unknown
    do body = json(await client.next(`im/u/u${i}/inbox`)).body; while (body === 'hello')
    if (body !== `while u${i} was away`) wrong.push(`u${i}: ${String(body)}`)
  }
  t.same(wrong, [], 'nothing is lost')
  for (const client of back) client.cut()
})
