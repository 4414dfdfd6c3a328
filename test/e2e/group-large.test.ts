/** A large group: one row for a send, the members online get it in order, the rest when they come. */
import t from 'tap'
import { wide } from '../support/configs.ts'
import { device } from '../support/mqtt.ts'
import { RawClient, json } from '../support/raw-client.ts'
import { startServer } from '../support/server.ts'
import { sized } from '../support/store-choice.ts'
import { storeRows } from '../support/store-rows.ts'

/** The founder is one more. */
const members = Array.from({ length: sized({ level: 9999, mongodb: 199 }) }, (_, i) => `m${i}`)
const online = sized({ level: 500, mongodb: 50 })
const sends = 20

await t.test(`${members.length + 1} members`, async t => {
  const server = await startServer(t, { config: wide })
  const founder = await device(t, server.url, 'founder', { clientId: 'desk' })
  await founder.result('groups.create', { gid: 'town', name: 'Town', members: [] })
  for (let at = 0; at < members.length; at += 1000) await founder.result('groups.add', { gid: 'town', members: members.slice(at, at + 1000) })
  await founder.end()
  await server.stop()
  const before = await storeRows(server, 'only once')
  t.equal(before.holding.length, 0)
  t.ok(before.all > members.length, `${before.all} rows`)
  await server.restart()
  const speaker = await device(t, server.url, 'founder', { clientId: 'desk' })
  await speaker.publish('im/to/g/town', { cid: 'c-first', body: 'only once' })
  await speaker.end()
  await server.stop()
  const after = await storeRows(server, 'only once')
  t.equal(after.holding.length, 1, 'one send writes one message row')
  t.ok(after.all - before.all <= 8, `${after.all - before.all} rows more (message, idempotency, head and the like), not one for each member`)
  await server.restart()

  const clients: RawClient[] = []
  for (let i = 0; i < online; i++) {
    const { client } = await RawClient.connect(t, server.mqttPort, { user: members[i] as string, clientId: 'phone' })
    if ((await client.subscribe('im/g/town'))[0] !== 1) throw new Error(`${members[i]} was refused`)
    clients.push(client)
  }
  const sender = await device(t, server.url, 'founder')
  for (let i = 1; i <= sends; i++) await sender.publish('im/to/g/town', `news ${i}`)
  const heard = async (client: RawClient): Promise<{ bodies: unknown[], seqs: number[] }> => {
    const out = { bodies: [] as unknown[], seqs: [] as number[] }
    while (out.bodies.at(-1) !== `news ${sends}`) {
      const one = json(await client.next('im/g/town', 60_000))
      out.seqs.push(one.seq as number)
      if (one.type !== 'system') out.bodies.push(one.body)
    }
    return out
  }
  const expected = ['only once', ...Array.from({ length: sends }, (_, i) => `news ${i + 1}`)]
  const wrong: string[] = []
  let reference: string | undefined
  for (const [i, client] of clients.entries()) {
    const { bodies, seqs } = await heard(client)
    if (bodies.join() !== expected.join()) wrong.push(`${members[i]}: ${bodies.join()}`)
    if (seqs.some((seq, at) => at > 0 && seq !== (seqs[at - 1] as number) + 1)) wrong.push(`${members[i]}: ${seqs.join()}`)
    const tail = seqs.slice(-sends).join()
    reference ??= tail
    if (tail !== reference) wrong.push(`${members[i]}: ${tail}, and not ${reference}`)
  }
  t.same(wrong.slice(0, 10), [], `${online} online members got all of it, in one order`)
  for (const client of clients) client.cut()

  for (let i = online; i < members.length; i += Math.floor((members.length - online) / 20)) {
    const { client } = await RawClient.connect(t, server.mqttPort, { user: members[i] as string })
    await client.subscribe('im/g/+')
    const { bodies } = await heard(client)
    if (bodies.join() !== expected.join()) wrong.push(`${members[i]}: ${bodies.join()}`)
    client.cut()
  }
  t.same(wrong, [], 'the others get it when they come')
})
