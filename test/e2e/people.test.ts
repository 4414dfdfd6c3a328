/** People at a whole server: profiles over MQTT and HTTP, what devices hear of them, search and its limits. */
import t from 'tap'
import { ApiClient } from '../support/api-client.ts'
import { device } from '../support/mqtt.ts'
import { startServer } from '../support/server.ts'

interface Found { people: Array<{ user: string, nickname?: string, avatar?: string }>, next?: string }

const server = await startServer(t)

await t.test('a profile: set over MQTT, read over HTTP, heard by a device that was away', async t => {
  const phone = await device(t, server.url, 'alice', { clientId: 'phone', clean: false })
  await phone.subscribe('im/u/alice/event')
  await phone.end()
  const desk = await device(t, server.url, 'alice', { clientId: 'desk' })
  await desk.subscribe('im/u/alice/event')
  t.match(await desk.result('people.set', { nickname: 'Ali', avatar: 'https://example.com/a.png', language: 'de', timeZone: 'Europe/Berlin', fields: { team: 'red' }, visible: 'everybody' }), { visible: 'everybody', findable: 'exact' })
  const event = { kind: 'profile', user: 'alice', nickname: 'Ali', avatar: 'https://example.com/a.png' }
  t.match(await desk.nextJson('im/u/alice/event'), event)
  const again = await device(t, server.url, 'alice', { clientId: 'phone', clean: false })
  t.match(await again.nextJson('im/u/alice/event'), event, 'the one that was away, too')
  const bob = new ApiClient(server.httpPort, 'bob')
  t.match(await bob.fetch('GET', '/v1/people/alice'), { status: 200, body: { user: 'alice', nickname: 'Ali', language: 'de', timeZone: 'Europe/Berlin', fields: { team: 'red' } } })
  t.match(await new ApiClient(server.httpPort, 'alice').json('PUT', '/v1/profile', { visible: 'nobody' }), { status: 200, body: { visible: 'nobody' } })
  t.same((await bob.fetch('GET', '/v1/people/alice')).body, { user: 'alice', nickname: 'Ali', avatar: 'https://example.com/a.png' })
  t.match(await again.nextJson('im/u/alice/event'), event)
})

await t.test('search: as the searched allow it, in pages, also after a restart', async t => {
  for (let i = 0; i < 12; i++) await new ApiClient(server.httpPort, `user${i}`).ask('people.set', { nickname: `Zed ${String.fromCharCode(97 + i)}`, findable: i % 4 === 3 ? 'exact' : 'prefix' })
  const bob = new ApiClient(server.httpPort, 'bob')
  const all = async (text: string): Promise<string[]> => {
    const users: string[] = []
    let after: string | undefined
    do {
      const { body } = await bob.ask('people.search', { text, limit: 4, ...after !== undefined && { after } })
      const page = body as unknown as Found
      users.push(...page.people.map(({ user }) => user))
      after = page.next
    } while (after !== undefined)
    return users
  }
  const expected = [0, 1, 2, 4, 5, 6, 8, 9, 10].map(i => `user${i}`)
  t.same(await all('zed'), expected, 'by nickname')
  t.same((await all('USER')).sort(), [...expected].sort(), 'by id')
  t.same(await all('zed d'), ['user3'], 'the whole of it')
  await new ApiClient(server.httpPort, 'user5').ask('people.set', { findable: 'nobody' })
  await server.stop()
  await server.restart()
  t.same(await new ApiClient(server.httpPort, 'bob').ask('people.search', { text: 'zed' }).then(({ body }) => (body as unknown as Found).people.length), 8)
})

await t.test('who searches much has to wait', async t => {
  const eve = await device(t, server.url, 'eve')
  const answers = await Promise.all(Array.from({ length: 60 }, () => eve.ask('people.search', { text: 'zed' })))
  const refused = answers.filter(({ ok }) => ok !== true)
  t.ok(refused.length > 0 && refused.length <= 30, `${refused.length} of 60 are refused: 150 large requests, five for each`)
  for (const answer of refused) t.match(answer, { code: 'rate_limited', retryAfterMs: Number })
  t.match(await (await device(t, server.url, 'bob')).ask('people.search', { text: 'zed' }), { ok: true }, 'others do not')
})
