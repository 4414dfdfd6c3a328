/** What the numbers of `$SYS` tell those who read them, look by look. */
import { mock } from 'node:test'
import t from 'tap'
import { SysTopics, type SysSources } from '../../broker/gateway/sys-topics.ts'

await t.test('who subscribes between two looks hears of a number that goes back to what it was', async t => {
  mock.timers.enable({ apis: ['setInterval'] })
  t.teardown(() => { mock.timers.reset() })
  const told: string[] = []
  const sink = { tell: (topic: string, payload: Uint8Array) => { if (topic === '$SYS/broker/messages/received') told.push(Buffer.from(payload).toString()) } }
  const reader = { session: { user: 'ops', crowded: false, interest: { sys: [['$SYS', '#']] } }, connection: { sink } }
  const connected = new Map([['ops/phone', reader]])
  const traffic = { received: 5, sent: 0, bytesReceived: 0, bytesSent: 0 }
  const sources: SysSources = { version: '1', connected, traffic, ordinary: undefined }
  const sys = new SysTopics({ intervalSeconds: 10, mayRead: () => true }, sources)
  t.teardown(() => { sys.close() })
  mock.timers.tick(10_000)
  t.strictSame(told.splice(0), ['5'])
  traffic.received = 7
  sys.tellAll(sink, '$SYS/#', undefined)
  t.strictSame(told.splice(0), ['7'])
  traffic.received = 5
  mock.timers.tick(10_000)
  t.strictSame(told.splice(0), ['5'])
  mock.timers.tick(10_000)
  t.strictSame(told, [], 'what has not changed is not told again')
})
