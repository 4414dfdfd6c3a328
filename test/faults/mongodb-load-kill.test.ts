/**
 * A whole server on MongoDB under the load of 20 senders and 40 receiving devices, while the database is killed with -9 and
 * stays away for a while: nothing acknowledged is lost, doubled or out of order, on the devices and in the store, numbers have
 * no gaps, and all goes on by itself. `SABETHES_TEST_KILLS` (default 2) times, `SABETHES_TEST_DOWN_SECONDS` (default 2) each;
 * the bar is 5 and 20.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import type { Test } from 'tap'
import { merge, wide } from '../support/configs.ts'
import { LoadRun } from '../support/load-run.ts'
import { until, within } from '../support/mailbox.ts'
import { mongodbServer } from '../support/mongodb.ts'
import { device } from '../support/mqtt.ts'
import { history, people } from '../support/places.ts'
import { RawClient, json } from '../support/raw-client.ts'
import { startServer } from '../support/server.ts'
import type { Server } from '../support/server.ts'

const kills = Number(process.env.SABETHES_TEST_KILLS ?? 2)
const downSeconds = Number(process.env.SABETHES_TEST_DOWN_SECONDS ?? 2)
const timeoutMs = 1000
/** The longest that anybody waits for an answer while the database is away: a few of its time-outs, one behind the other. */
const boundMs = 8 * timeoutMs
t.setTimeout((kills * (downSeconds + 60) + 180) * 1000)
const mongodb = await mongodbServer(t)
const skip = mongodb === undefined || mongodb.kind === 'env' ? 'no database server that this test may stop' : false

await t.test(`${kills} kills of ${downSeconds} s`, { skip, timeout: (kills * (downSeconds + 60) + 150) * 1000 }, async t => {
  if (mongodb === undefined) return
  const store = { driver: 'mongodb', url: mongodb.url, database: mongodb.database, timeoutMs }
  const server = await startServer(t, { config: merge(wide, { store }) })
  const run = await LoadRun.start(t, server, people, { pauseMs: 80 })
  const { checker, conversations, receivers, senders } = run
  for (let kill = 1; kill <= kills; kill++) {
    await run.progress(100, `before kill ${kill}`)
    // Connected, and known to the server, before the database goes.
    const [writer, reader] = [await letIn(t, server, 'writer'), await letIn(t, server, people[0] as string)]
    await mongodb.kill9()
    const away = Date.now()
    await whileAway(t, server, mongodb.url, { writer, reader })
    const mark = checker.acknowledgedCount
    await sleep(Math.max(0, downSeconds * 1000 - (Date.now() - away)))
    t.equal(checker.acknowledgedCount, mark, 'nothing is acknowledged while the database is away')
    await mongodb.restart()
    const back = Date.now()
    await until(async () => (await readyz(server)).status === 200, 30_000, 'readyz says ready')
    const readyMs = Date.now() - back
    await run.progress(100, `after kill ${kill}`)
    t.comment(`kill ${kill}: away for ${back - away} ms, ready ${readyMs} ms later, 100 more acknowledged ${Date.now() - back} ms later`)
    writer.cut()
    reader.cut()
  }
  await run.finish(t)
  t.ok(server.running(), 'the server was not started again')

  // The store, as a process sees it that has nothing of this in memory, and time (FerretDB reads without an index).
  for (const one of receivers) await one.stop()
  for (const one of senders) await one.end()
  await server.stop()
  t.testdirName += '-fresh'
  const fresh = await startServer(t, { config: merge(wide, { store: { ...store, timeoutMs: 20_000 } }) })
  for (const { conv, members } of conversations) {
    const own = await device(t, fresh.url, members[0] as string, { clientId: 'historian' })
    const log = await history(own, conv)
    t.same(log.map(one => one.seq), log.map((_, i) => i + 1), `${conv}: ${log.length} numbers without gaps`)
    for (const user of members) {
      const sent = checker.sentTo(conv).filter(one => one.from === user).map(one => one.body)
      t.same(log.filter(one => one.from === user && one.type === 'text').map(one => one.body), sent, `all that ${user} sent, once, in this order`)
    }
    await own.end()
  }
})

/** Connects, as often as it takes: a database that is just back may need longer than its time-out here. */
async function letIn (t: Test, server: Server, user: string): Promise<RawClient> {
  let found: RawClient | undefined
  await until(async () => {
    const answer = await RawClient.connect(t, server.mqttPort, { user }).catch((cause: Error) => { t.comment(cause.message) })
    if (answer?.connack.returnCode === 0) found = answer.client
    return found !== undefined
  }, 30_000, `the connection of ${user}`)
  return found as RawClient
}

/** Everybody gets an answer or loses the connection, soon, and nobody a PUBACK; readyz says why without saying where. */
async function whileAway (t: Test, server: Server, url: string, { writer, reader }: { writer: RawClient, reader: RawClient }): Promise<void> {
  const { host, port } = new URL(url)
  const secret = new RegExp(`${host}|127\\.0\\.0\\.1|localhost|${port}|mongodb:|ECONN`)
  const written = within(writer.publish('im/to/u/nobody', 'while away'), boundMs, 'the answer to a message')
  const asked = (async () => {
    reader.send({ cmd: 'publish', topic: 'im/rpc/messages.history', payload: '{"rid":"away","with":"u1"}', qos: 1, dup: false, retain: false, messageId: reader.nextId() })
    return json(await within(reader.next(`im/u/${people[0] as string}/rpc/away`), boundMs, 'the answer to a request'))
  })()
  const connected = within(RawClient.connect(t, server.mqttPort, { user: 'newcomer' }).then(({ connack }) => connack.returnCode, (cause: Error) => cause.message), boundMs, 'the answer to a CONNECT')
  await Promise.all([
    t.rejects(written, { message: /^the connection is closed/ }, 'a message that cannot be stored is not acknowledged: the connection ends, the client sends it again'),
    asked.then(answer => {
      t.match(answer, { ok: false, code: 'unavailable' }, 'a request is told')
      t.notMatch(JSON.stringify(answer), secret)
    }),
    connected.then(answer => { t.match(String(answer), /^(the connection is closed|3$)/, 'a new connection waits for nothing') }),
    within(readyz(server), boundMs, 'readyz').then(({ status, text }) => {
      t.equal(status, 503)
      t.match(JSON.parse(text), { code: 'unavailable', detail: /store/ }, 'readyz says why')
      t.notMatch(text, secret, 'and not where')
    })
  ])
}

async function readyz (server: Server): Promise<{ status: number, text: string }> {
  const answer = await fetch(`http://127.0.0.1:${server.httpPort}/readyz`)
  return { status: answer.status, text: await answer.text() }
}
