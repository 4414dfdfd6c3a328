/** A message that crosses between two servers crosses once: in the question to its owner, which tells its own sessions by itself, or from its owner in what that one says. */
import t from 'tap'
import { startCluster } from '../support/cluster.ts'
import { device } from '../support/mqtt.ts'
import { until } from '../support/mailbox.ts'

const users = 16
const cluster = await startCluster(t, 2)

await t.test('each of many conversations over two servers', { skip: cluster === undefined }, async t => {
  if (cluster === undefined) return
  const [one, two] = cluster.servers.map(({ url }) => url) as [string, string]
  const sender = await device(t, one, 'sender')
  const receivers = await Promise.all(Array.from({ length: users }, (_, i) => device(t, two, `r${i}`)))
  for (const [i, receiver] of receivers.entries()) await receiver.subscribe(`im/u/r${i}/inbox`)
  // What it says by itself at the beginning of a conversation is not counted.
  for (let i = 0; i < users; i++) await sender.publish(`im/to/u/r${i}`, { body: 'first' })
  for (const receiver of receivers) await receiver.next()
  const watching = cluster.redis.client()
  let [asked, said, frames] = [0, 0, 0]
  watching.on('pmessage', (_pattern: string, _channel: string, text: string) => {
    frames++
    for (const [kind, body] of (JSON.parse(text) as { m?: Array<[string, Array<{ op?: string, kind?: string }>]> }).m ?? []) {
      if (kind === 'commit') asked += body.filter(({ op }) => op === 'message').length
      if (kind === 'outputs') said += body.filter(({ kind }) => kind === 'message').length
    }
  })
  await watching.psubscribe('sabethes:to:*')
  for (let i = 0; i < users; i++) await sender.publish(`im/to/u/r${i}`, { body: 'second' })
  for (const receiver of receivers) {
    const { text } = await receiver.next()
    const { seq, body } = JSON.parse(text) as { seq: number, body: string }
    t.strictSame([seq, body], [2, 'second'])
  }
  // Behind the next heartbeats nothing of it is on its way.
  const before = frames
  await until(() => frames >= before + 6, 10_000, 'heartbeats')
  t.equal(asked + said, users, `${asked} asked, ${said} said`)
  t.ok(asked > 0 && said > 0, 'of either')
  for (const receiver of receivers) t.equal(receiver.mail.waiting.length, 0, 'once')
})
