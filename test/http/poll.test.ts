/** `GET /v1/poll`: the stream in answers, for networks that keep back what is not whole. */
import t from 'tap'
import { ApiClient, type Answered } from '../support/api-client.ts'
import { until } from '../support/mailbox.ts'
import { startServer } from '../support/server.ts'
import { sized } from '../support/store-choice.ts'

const server = await startServer(t, { config: { http: { requestsPerSecond: 100_000, stream: { perUser: 2, pollMs: 5000 } }, groups: { consent: 'everybody' }, plugins: { 'rate-limit': { burst: 100_000, messagesPerSecond: 100_000 } } } })
const as = (user: string): ApiClient => new ApiClient(server.httpPort, user)

interface Page { id: string, more: boolean, entries: Array<{ event: string, data: Record<string, unknown> }> }
async function poll (user: string, query: string): Promise<Page> {
  const answer = await as(user).fetch('GET', `/v1/poll?${query}`)
  if (answer.status !== 200) throw new Error(`${answer.status} ${JSON.stringify(answer.body)}`)
  return answer.body as unknown as Page
}

await t.test('at once when there is something, else when there is or the time is over', async t => {
  const begin = await poll('bob', 'wait=0')
  t.match(begin, { more: false, entries: [] })
  const sent = await as('alice').send('u/bob', 'one')
  const one = await poll('bob', `after=${begin.id}&wait=30`)
  t.match(one, { more: false, entries: [{ event: 'message', data: { ...sent.body, body: 'one' } }] })
  t.strictSame((await poll('bob', `after=${one.id}`)).entries, [], 'had is had')
  t.strictSame((await poll('bob', `after=${begin.id}`)).entries, one.entries, 'an answer that was lost is given again')
  const began = performance.now()
  const waiting = poll('bob', `after=${one.id}&wait=30`)
  await as('alice').send('u/bob', 'two')
  t.match(await waiting, { entries: [{ data: { body: 'two' } }] })
  t.ok(performance.now() - began < 4500, 'it did not wait for the time')
  const quiet = performance.now()
  t.strictSame((await poll('nobody', 'wait=1')).entries, [])
  t.ok(performance.now() - quiet >= 990)
})

await t.test('pages are bounded', async t => {
  const begin = await poll('carol', '')
  for (let i = 1; i <= 25; i++) await as('alice').send('u/carol', String(i))
  const bodies: unknown[] = []
  let { id } = begin
  for (let more = true, pages = 0; more; pages++) {
    const page = await poll('carol', `after=${id}&limit=10`)
    t.ok(page.entries.length <= 10)
    bodies.push(...page.entries.map(({ data }) => data['body']))
    ;({ id, more } = page)
    if (pages > 10) throw new Error('no end')
  }
  t.strictSame(bodies, Array.from({ length: 25 }, (_, i) => String(i + 1)))
  for (let i = 0; i < 8; i++) await as('alice').send('u/carol', 'x'.repeat(60_000))
  let [large, count] = [await poll('carol', `after=${id}`), 0]
  for (; ; large = await poll('carol', `after=${large.id}`)) {
    t.ok(large.entries.length < 6, 'by bytes, too')
    count += large.entries.length
    if (!large.more) break
  }
  t.equal(count, 8)
})

await t.test('limits', async t => {
  t.match(await as('u').fetch('GET', '/v1/poll?after=x'), { status: 400, body: { code: 'bad_payload' } })
  t.match(await as('u').fetch('GET', '/v1/poll?limit=501'), { status: 400 })
  t.match(await as('u').fetch('GET', '/v1/poll?wait=soon'), { status: 400 })
  const { id } = await poll('u', '')
  const open = [poll('u', `after=${id}&wait=2`), poll('u', `after=${id}&wait=2`)]
  let refused: Answered | undefined
  await until(async () => (refused = await as('u').fetch('GET', `/v1/poll?after=${id}`)).status !== 200, 5000, 'the limit')
  t.match(refused, { status: 429, body: { code: 'rate_limited' } })
  await Promise.all(open)
  await poll('u', `after=${id}`)
})

await t.test('more conversations than an id holds: it is said, and goes on', { timeout: 120_000 }, async t => {
  const { id } = await poll('busy', '')
  const senders = Array.from({ length: 501 }, (_, i) => `r${i}`)
  while (senders.length > 0) await Promise.all(senders.splice(0, 20).map(async sender => await as(sender).send('u/busy', 'x')))
  let page: Page & { reset?: boolean } = await poll('busy', `after=${id}&limit=500`)
  while (page.more) page = await poll('busy', `after=${page.id}&limit=500`)
  t.match(page, { reset: true, entries: [] })
  await until(async () => {
    page = await poll('busy', `after=${page.id}&limit=500`)
    return page.reset !== true && !page.more
  }, 60_000, 'a place from which it goes on')
  await as('alice').send('u/busy', 'after that')
  t.match(await poll('busy', `after=${page.id}&wait=5`), { entries: [{ data: { body: 'after that' } }] })
})

await t.test('given up 50 times at random: nothing missed, nothing repeated', { timeout: 240_000 }, async t => {
  const count = sized({ level: 900, mongodb: 297 })
  const senders = ['p1', 'p2', 'p3']
  await as('dave').ask('groups.create', { gid: 'many', members: senders })
  let { id } = await poll('dave', '')
  const had: Page['entries'] = []
  let cuts = 0
  const reading = async (): Promise<void> => {
    while (had.filter(({ data }) => typeof data['body'] === 'string').length < count || cuts < 50) {
      const gone = new AbortController()
      const timer = cuts < 50 ? setTimeout(() => { gone.abort() }, Math.random() * 30) : undefined
      try {
        const answer = await fetch(`http://127.0.0.1:${server.httpPort}/v1/poll?after=${id}&wait=1&limit=${cuts < 50 ? 9 : 100}`, { signal: gone.signal, headers: { authorization: `Basic ${Buffer.from('dave:').toString('base64')}` } })
        const page = await answer.json() as Page
        // Those that were given up may still be leaving.
        if (answer.status === 429) continue
        had.push(...page.entries)
        ;({ id } = page)
      } catch (cause) {
        if (!gone.signal.aborted) throw cause
        cuts++
      } finally {
        clearTimeout(timer)
      }
    }
  }
  const sending = senders.map(async sender => { for (let n = 0; n < count / 3; n++) await as(sender).send(n % 3 === 0 ? 'g/many' : 'u/dave', `${n}`) })
  await Promise.all([reading(), ...sending])
  const last = new Map<string, number>()
  let wrong = 0
  for (const { data } of had) {
    const { conv, seq, eseq } = data as { conv: string, seq: number, eseq?: number }
    if (eseq !== undefined) continue
    if (seq !== (last.get(conv) ?? (conv === 'g:many' ? seq - 1 : 0)) + 1) wrong++
    last.set(conv, seq)
  }
  t.equal(wrong, 0, 'each follows the one before it')
  t.match(Object.fromEntries(last), Object.fromEntries(senders.map(sender => [`d:dave:${sender}`, count * 2 / 9])))
})
