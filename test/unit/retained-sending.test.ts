/** What is remembered of the retained messages of a filter when the connection ends while they are sent. */
import t from 'tap'
import { RetainedSending } from '../../broker/ordinary/retained-sending.ts'

type Owed = [filter: string, owed: readonly string[], sent: readonly string[] | undefined]

/** Sends `topics` by `#`, of which `owed` says what is owed; the connection ends behind `ends` messages. */
async function sending (topics: string[], owed: readonly string[] | undefined, ends = Infinity): Promise<{ sent: string[], told: Owed[] }> {
  const sent: string[] = []
  const told: Owed[] = []
  const retained = new RetainedSending({
    async * retained () { for (const topic of topics) yield { topic, latest: () => ({ cmd: 'publish', topic, payload: 'x', qos: 1, retain: true }) } },
    room: () => undefined,
    mayRead: () => true,
    properties: () => ({}),
    send: ({ topic }, done) => {
      sent.push(topic)
      done()
    },
    owe: (...what) => { told.push(what) },
    get closed () { return sent.length >= ends }
  })
  await retained.send(await retained.find([{ topic: '#', qos: 1, ...owed !== undefined && { owed } }]))
  return { sent, told }
}

const names = (count: number, length = 1) => Array.from({ length: count }, (_, i) => String(i).padStart(length, 'x'))

await t.test('all that is owed is sent, but for what was', async t => {
  const owed = ['1', 'gone']
  t.strictSame(await sending(names(4), owed), { sent: ['0', '2', '3'], told: [['#', owed, undefined]] })
})

await t.test('of a session that is not kept nothing is told', async t => {
  t.strictSame((await sending(names(4), undefined)).told, [])
  t.strictSame((await sending(names(4), undefined, 2)).told, [])
})

await t.test('what was sent is told when the connection ends, with what was sent before', async t => {
  const owed = ['1']
  t.strictSame(await sending(names(6), owed, 2), { sent: ['0', '2'], told: [['#', owed, ['1', '0', '2']]] })
  t.strictSame((await sending(names(6), owed, 0)).told, [], 'nothing new')
})

await t.test('no more than 1,000 topics and 65,536 characters of them', async t => {
  t.equal((await sending(names(1002), [], 1000)).told[0]?.[2]?.length, 1000)
  t.strictSame((await sending(names(1002), [], 1001)).told[0]?.[2], [], 'all of them come again')
  t.equal((await sending(names(18, 4096), [], 16)).told[0]?.[2]?.length, 16)
  t.strictSame((await sending(names(18, 4096), [], 17)).told[0]?.[2], [])
})

await t.test('a filter that is subscribed to anew while what was left of it waits for room is sent from its beginning, once', async t => {
  const sent: string[] = []
  const told: Owed[] = []
  let open = (): void => {}
  const room = new Promise<void>(resolve => { open = resolve })
  const retained = new RetainedSending({
    async * retained () { for (const topic of names(4)) yield { topic, latest: () => ({ cmd: 'publish', topic, payload: 'x', qos: 1, retain: true }) } },
    room: () => room,
    mayRead: () => true,
    properties: () => ({}),
    send: ({ topic }, done) => {
      sent.push(topic)
      done()
    },
    owe: (...what) => { told.push(what) },
    closed: false
  })
  const first = retained.send(await retained.find([{ topic: '#', qos: 1, owed: ['1'] }]), true)
  await retained.send(await retained.find([{ topic: '#', qos: 1, owed: [] }]))
  open()
  await first
  t.strictSame(sent, names(4))
  t.strictSame(told, [['#', [], undefined]], 'what was owed before is not told as sent')
})
