/** Two servers: one connection of a session, and what the operator or a member changes at one holds at the other. */
import t from 'tap'
import type { Test } from 'tap'
import { startCluster } from '../support/cluster.ts'
import { until, within } from '../support/mailbox.ts'
import { device } from '../support/mqtt.ts'
import { RawClient } from '../support/raw-client.ts'
import { cli } from '../support/server.ts'
import type { Server } from '../support/server.ts'

t.setTimeout(180_000)
const cluster = await startCluster(t, 2)

type Will = NonNullable<Parameters<typeof RawClient.connect>[2]>['will']

async function connect (t: Test, server: Server, user: string, { clientId = 'phone', seconds = 1000, clean = false, will, acknowledge = true }: { clientId?: string, seconds?: number, clean?: boolean, will?: Will, acknowledge?: boolean } = {}): Promise<{ client: RawClient, present: boolean, code: number }> {
  const { client, connack } = await RawClient.connect(t, server.mqttPort, { version: 5, user, clientId, clean, acknowledge, properties: { sessionExpiryInterval: seconds }, ...will !== undefined && { will } })
  return { client, present: connack.sessionPresent, code: connack.reasonCode ?? 0 }
}

/** The reason code of the DISCONNECT that ends a connection. */
async function reasonOf (client: RawClient, timeoutMs = 10_000): Promise<number | undefined> {
  const packet = await client.packets.take(({ cmd }) => cmd === 'disconnect', timeoutMs, 'DISCONNECT')
  await within(client.closed, 5_000, 'the end of the connection')
  return packet.cmd === 'disconnect' ? packet.reasonCode : undefined
}

const willOf = (text: string, delay: number): Will => ({ topic: 'im/to/u/watcher', payload: Buffer.from(text), qos: 1, retain: false, properties: { willDelayInterval: delay } })

if (cluster !== undefined) {
  const [one, two] = cluster.servers as [Server, Server]
  const operate = async (...args: string[]): Promise<void> => {
    const { code, stderr } = await cli([...args, '--data', one.data, '--config', one.configPath])
    if (code !== 0) throw new Error(stderr)
  }

  await t.test('a session that is taken up at the other server', async t => {
    const watcher = await device(t, one.url, 'watcher')
    await watcher.subscribe('im/u/watcher/inbox')
    const alice = await device(t, one.url, 'alice')
    const first = await connect(t, one, 'bob', { acknowledge: false, will: willOf('of the session that goes on', 6) })
    await first.client.subscribe('im/u/bob/inbox')
    await alice.publish('im/to/u/bob', 'unacknowledged')
    const { messageId } = await first.client.next()
    const began = performance.now()
    const second = await connect(t, two, 'bob')
    const tookMs = performance.now() - began
    t.equal(await reasonOf(first.client), 0x8e)
    t.ok(second.present)
    t.ok(tookMs < 2_000, `in ${Math.round(tookMs)} ms: the first server has answered`)
    t.match(await second.client.next(), { messageId, dup: true }, 'what it had not acknowledged comes again, as at one server')
    t.match(await connect(t, one, 'bob', { clientId: 'other' }), { present: false, code: 0 }, 'another session of the user is another one')
    await alice.publish('im/to/u/bob', 'at the second')
    t.match(await second.client.next(), { dup: false })
    for (const text of ['ends with it', 'said at once']) {
      const clean = text === 'ends with it' ? { clean: true, seconds: 0 } : {}
      const old = await connect(t, one, 'carol', { ...clean, will: willOf(text, 0) })
      const next = await connect(t, two, 'carol', clean)
      t.equal(await reasonOf(old.client), 0x8e)
      t.equal(next.present, clean.clean !== true)
      await watcher.mail.take(message => message.text.includes(text), 10_000, text)
      await next.client.disconnect()
    }
    await new Promise(resolve => setTimeout(resolve, 7_000))
    t.same(watcher.mail.waiting.filter(({ text }) => text.includes('goes on')), [], 'the will of a session that goes on is not sent')
    t.ok(second.client.packets.waiting.every(({ cmd }) => cmd !== 'disconnect'))
    for (const client of [watcher, alice]) await client.end()
  })

  await t.test('clients that fight for one session at both', async t => {
    for (const clean of [{}, { clean: true, seconds: 0 }]) {
      // Who is taken over before its CONNACK hears nothing but the end.
      const tried = await Promise.allSettled(Array.from({ length: 16 }, (_, at) => connect(t, at % 2 === 0 ? one : two, 'dave', clean)))
      const fought = tried.flatMap(one => one.status === 'fulfilled' ? [one.value] : [])
      const open = async (): Promise<number> => {
        const alive = await Promise.all(fought.map(({ client, code }) => code !== 0 ? false : client.ping().then(() => true, () => false)))
        return alive.filter(Boolean).length
      }
      await until(async () => await open() <= 1, 20_000, 'one connection')
      t.ok(await open() <= 1)
      // Fights are counted by the second.
      await new Promise(resolve => setTimeout(resolve, 1_100))
      const last = await connect(t, one, 'dave', clean)
      t.equal(last.code, 0)
      await last.client.ping()
      t.equal(await open(), 0, 'it has taken over from whoever was left')
      for (const { client } of [...fought, last]) client.cut()
    }
  })

  await t.test('what is changed at one server holds at the other within a second', async t => {
    const owner = await device(t, one.url, 'owner')
    const [erin, frank] = [await device(t, two.url, 'erin'), await device(t, two.url, 'frank')]
    await owner.result('groups.create', { gid: 'team', name: 'Team', members: ['erin'] })
    for (const client of [erin, frank]) await client.subscribe(`im/u/${client.user}/#`)
    const ask = async (topic: string, text: string): Promise<string> => {
      await frank.publish(topic, text)
      return text
    }
    const refused = async (client: typeof erin, topic: string, text: string): Promise<boolean> => {
      await client.publish(topic, { body: text, cid: text })
      const notice = await client.mail.take(message => message.topic.endsWith('/notice') && message.text.includes(text), 300, 'the refusal').catch(() => undefined)
      return notice !== undefined
    }
    t.equal(await refused(erin, 'im/to/g/team', 'a'), false)
    t.equal(await refused(frank, 'im/to/g/team', 'b'), true)
    await owner.result('groups.add', { gid: 'team', users: ['frank'] })
    await until(async () => !await refused(frank, 'im/to/g/team', `c${Date.now()}`), 1_000, 'the new member to be let in')
    await owner.result('groups.remove', { gid: 'team', users: ['erin'] })
    await until(async () => await refused(erin, 'im/to/g/team', `d${Date.now()}`), 1_000, 'the removed one to be refused')
    await ask('im/to/u/owner', 'hello')
    await owner.result('blocks.add', { user: 'frank' })
    await until(async () => await refused(frank, 'im/to/u/owner', `e${Date.now()}`), 1_000, 'who is blocked to be refused')
    const banned = await connect(t, two, 'erin', { clientId: 'raw' })
    const began = performance.now()
    await operate('user', 'ban', 'erin')
    t.equal(await reasonOf(banned.client), 0x98)
    t.comment(`the ban took ${Math.round(performance.now() - began)} ms, with the command's own start`)
    t.equal((await connect(t, two, 'erin')).code, 0x8a)
    for (const client of [owner, frank]) await client.end()
  })

  await t.test('while Redis is away, and when it is back', async t => {
    const gina = await connect(t, one, 'gina', { clean: true, seconds: 0 })
    const hugo = await connect(t, two, 'hugo')
    const member = await device(t, two.url, 'member')
    await member.subscribe('im/u/member/#')
    const owner = await device(t, one.url, 'owner')
    await owner.result('groups.create', { gid: 'crew', name: 'Crew', members: ['member'] })
    await member.publish('im/to/g/crew', 'in memory')
    await cluster.redis.kill()
    const there = await connect(t, two, 'gina', { clean: true, seconds: 0 })
    await gina.client.ping()
    await there.client.ping()
    await operate('user', 'ban', 'hugo')
    t.equal(await reasonOf(hugo.client, 12_000), 0x98, 'the account is looked at although nobody says anything')
    await owner.result('groups.remove', { gid: 'crew', users: ['member'] })
    await until(async () => {
      const cid = `x${Date.now()}`
      await member.publish('im/to/g/crew', { body: cid, cid })
      return await member.mail.take(message => message.topic.endsWith('/notice') && message.text.includes(cid), 300, 'the refusal').then(() => true, () => false)
    }, 5_000, 'the removed member to be refused')
    const moved = await connect(t, one, 'ina')
    const again = await connect(t, two, 'ina')
    t.ok(again.present, 'a session goes on from its row')
    await cluster.redis.restart()
    t.equal(await reasonOf(gina.client, 20_000), 0x8e, 'the earlier one of two ends')
    t.equal(await reasonOf(moved.client, 20_000), 0x8e)
    for (const { client } of [there, again]) await client.ping()
    for (const client of [owner, member]) await client.end()
  })
}
