import t from 'tap'
import { envelope, eventText } from '../../broker/engine/envelope.ts'
import { messageIds } from '../../broker/engine/commit/message-id.ts'

await t.test('ids grow, also within a millisecond and when the clock goes back', async t => {
  let now = 1_790_000_000_000
  const next = messageIds(() => now)
  const ids: string[] = []
  for (let i = 0; i < 3000; i++) {
    if (i === 1000) now += 5
    if (i === 2000) now -= 3_600_000
    ids.push(next())
  }
  t.strictSame(ids, [...new Set(ids)].sort())
  t.match(ids[0], /^[0-9a-z]{20}$/)
})

await t.test('ids of two processes differ', async t => {
  t.not(messageIds(() => 1)(), messageIds(() => 1)())
})

await t.test('a full counter borrows the next millisecond', async t => {
  const next = messageIds(() => 7, { origin: 'aaaaaaa' })
  let last = ''
  for (let i = 0; i <= 36 ** 4; i++) last = next()
  t.equal(last, '0000000080000aaaaaaa')
})

await t.test('envelopes and events', async t => {
  t.equal(envelope('g:dev', 42, '"id":"x"').toString(), '{"v":1,"conv":"g:dev","seq":42,"id":"x"}')
  t.equal(eventText(3, '{"kind":"read"}'), '{"kind":"read","eseq":3}')
  t.equal(eventText(3, '{}'), '{"eseq":3}')
})

await t.test('the time of a message is its id\'s, however late that is made; not where ids are ahead', async t => {
  let ms = 1_790_000_000_000
  const newId = messageIds(() => ms++)
  const timeOf = (id: string): number => Number.parseInt(id.slice(0, 9), 36)
  t.equal(timeOf(newId(1_790_000_000_000)), 1_790_000_000_000)
  t.equal(ms, 1_790_000_000_000, 'the clock is not asked again')
  t.equal(timeOf(newId(1_790_000_000_007)), 1_790_000_000_007)
  t.equal(timeOf(newId(1_790_000_000_003)), 1_790_000_000_007)
})
