/** Two servers that work as one: each client is at the other one than who it talks to. */
import t from 'tap'
import { until } from '../support/mailbox.ts'
import { startCluster } from '../support/cluster.ts'
import { device } from '../support/mqtt.ts'
import type { Device } from '../support/mqtt.ts'

t.setTimeout(120_000)
const cluster = await startCluster(t, 2)

interface Envelope { conv: string, seq: number, body: string, from: string }
const body = (name: string) => ({ text }: { text: string }): boolean => (JSON.parse(text) as Envelope).body === name

if (cluster !== undefined) {
  const [one, two] = cluster.servers.map(({ url }) => url) as [string, string]

  await t.test('a message of each kind reaches devices at the other server, in order', async t => {
    const alice = await device(t, one, 'alice', { clientId: 'phone' })
    const tablet = await device(t, two, 'alice', { clientId: 'tablet' })
    const bob = await device(t, two, 'bob', { clientId: 'phone' })
    for (const one of [alice, tablet]) await one.subscribe(['im/u/alice/#', 'im/g/+'])
    await bob.subscribe(['im/u/bob/#', 'im/g/+'])
    for (let i = 1; i <= 20; i++) await alice.publish('im/to/u/bob', { body: `direct ${i}` })
    for (const to of [bob, tablet]) {
      for (let i = 1; i <= 20; i++) {
        const { text } = await to.mail.take(({ topic }) => topic.includes('/inbox'), 10_000, `direct ${i}`)
        const { seq, body } = JSON.parse(text) as Envelope
        t.same([seq, body], [i, `direct ${i}`])
      }
    }
    await bob.publish('im/to/u/alice', { body: 'back' })
    for (const to of [alice, tablet]) await to.mail.take(body('back'), 10_000, 'the answer')
    await alice.result('groups.create', { gid: 'team', name: 'Team', members: ['bob'] })
    await bob.mail.take(({ topic }) => topic === 'im/g/team', 10_000, 'the founding')
    await alice.publish('im/to/g/team', { body: 'to all' })
    for (const to of [bob, tablet]) await to.mail.take(body('to all'), 10_000, 'the message to the group')
    await bob.publish('im/to/g/team', { body: 'from there' })
    for (const to of [alice, tablet]) await to.mail.take(body('from there'), 10_000, 'the message of the other server')
    for (const one of [alice, tablet, bob]) await one.end()
  })

  await t.test('of a refusal the devices of its sender hear at both servers', async t => {
    const phone = await device(t, one, 'mallory', { clientId: 'phone' })
    const [near, far] = [await device(t, one, 'mallory', { clientId: 'near' }), await device(t, two, 'mallory', { clientId: 'far' })]
    const quiet = await device(t, two, 'mallory', { clientId: 'quiet' })
    const other = await device(t, two, 'other')
    for (const each of [near, far, phone]) await each.subscribe('im/u/mallory/notice')
    await quiet.subscribe('im/u/mallory/inbox')
    await other.subscribe('im/u/other/#')
    await phone.publish('im/to/u/other/dance', 'x')
    for (const each of [phone, near, far]) t.match(await each.nextJson('im/u/mallory/notice'), { kind: 'reject', code: 'not_found', ref: { topic: 'im/to/u/other/dance' } })
    await phone.publish('im/to/u/other', { body: 'after it' })
    for (const [each, name] of [[quiet, 'who does not listen to notices'], [other, 'somebody else']] as const) {
      const { text } = await each.mail.take(() => true, 10_000, name)
      t.match(text, /after it/, `${name} hears nothing of it`)
    }
    for (const each of [phone, near, far]) t.same(each.mail.waiting.filter(({ topic }) => topic.endsWith('/notice')), [], 'once')
    for (const each of [phone, near, far, quiet, other]) await each.end()
  })

  await t.test('who is away from both gets at one what came in at the other', async t => {
    const options = { clientId: 'away', clean: false }
    const carol = await device(t, two, 'carol', options)
    await carol.subscribe('im/u/carol/inbox')
    await carol.end()
    const dave = await device(t, one, 'dave')
    for (let i = 1; i <= 5; i++) await dave.publish('im/to/u/carol', { body: `waits ${i}` })
    const back = await device(t, one, 'carol', options)
    t.ok(back.sessionPresent)
    for (let i = 1; i <= 5; i++) await back.mail.take(body(`waits ${i}`), 10_000, `number ${i}`)
    await back.end()
    await dave.end()
  })

  await t.test('what Redis loses comes from the database, when it is back', async t => {
    const erin = await device(t, one, 'erin')
    const frank = await device(t, two, 'frank')
    const here = await device(t, one, 'frank', { clientId: 'here' })
    const readers: Device[] = [frank, here]
    for (const reader of readers) await reader.subscribe(['im/u/frank/#', 'im/g/+'])
    await erin.result('groups.create', { gid: 'crew', name: 'Crew', members: ['frank'] })
    for (const reader of readers) await reader.mail.take(({ topic }) => topic === 'im/g/crew', 10_000, 'the founding')
    await cluster.redis.kill()
    for (let i = 1; i <= 10; i++) await erin.publish(i % 2 === 0 ? 'im/to/u/frank' : 'im/to/g/crew', { body: `lost ${i}` })
    for (let i = 1; i <= 10; i++) await here.mail.take(body(`lost ${i}`), 10_000, `number ${i} at the same server`)
    t.same(frank.mail.waiting.filter(({ text }) => text.includes('lost')), [])
    await cluster.redis.restart()
    for (let i = 1; i <= 10; i++) await frank.mail.take(body(`lost ${i}`), 20_000, `number ${i} at the other server`)
    await erin.publish('im/to/u/frank', { body: 'again' })
    for (const reader of readers) await reader.mail.take(body('again'), 10_000, 'what comes live')
    t.same(readers.flatMap(({ mail }) => mail.waiting).filter(({ text }) => text.includes('lost')), [], 'nothing comes twice')
    await Promise.all([erin, ...readers].map(async one => { await one.end() }))
  })

  await t.test('a server that is killed is missed by nobody at the other one', async t => {
    const [first] = cluster.servers
    const gina = await device(t, two, 'gina')
    const hugo = await device(t, two, 'hugo')
    await hugo.subscribe('im/u/hugo/inbox')
    await first?.kill9()
    await gina.publish('im/to/u/hugo', { body: 'still here' })
    await hugo.mail.take(body('still here'), 10_000, 'the message')
    const redis = cluster.redis.client()
    await until(async () => await redis.pubsub('NUMSUB', 'x') !== undefined && Object.keys(await redis.hgetall('sabethes:nodes')).length > 0, 10_000, 'the registry')
    await first?.restart()
    const ina = await device(t, one, 'ina')
    await ina.publish('im/to/u/hugo', { body: 'back again' })
    await hugo.mail.take(body('back again'), 15_000, 'the message of the server that is back')
    await Promise.all([gina, hugo, ina].map(async one => { await one.end() }))
  })
}
