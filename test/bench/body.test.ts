import t from 'tap'
import { StampReader, template, writeCounter } from '../../bench/body.ts'

await t.test('a payload has the wanted size and its counter can be written in place', async t => {
  for (const kind of ['text', 'json', 'cid'] as const) {
    const { payload, counterOffsets } = template(kind, 7, 100)
    t.equal(payload.length, 100, kind)
    for (const offset of counterOffsets) writeCounter(payload, offset, 1209)
    const text = payload.toString()
    t.match(text, 'seq=0000001209/00007x', kind)
    if (kind !== 'text') t.type(JSON.parse(text).body, 'string', kind)
    if (kind === 'cid') t.equal(JSON.parse(text).cid, '0000001209')
  }
})

await t.test('a payload too small for its stamp is refused', async t => {
  t.throws(() => template('cid', 0, 30), RangeError)
})

await t.test('the stamp is found as sent and inside an envelope, also when the envelope grows', async t => {
  const reader = new StampReader()
  const { payload, counterOffsets } = template('text', 42, 60)
  const deliver = (counter: number, before: string, after: string) => {
    for (const offset of counterOffsets) writeCounter(payload, offset, counter)
    const wire = Buffer.from('topic' + before + payload.toString() + after + 'next packet')
    return reader.read(wire, 5, wire.length - 'next packet'.length)
  }
  const cases = [[8, '', ''], [9, '{"v":1,"seq":9,"body":"', '"}'], [10, '{"v":1,"seq":10,"body":"', '"}'], [100, '{"body":"', '","type":"text"}']] as const
  for (const [counter, before, after] of cases) {
    t.ok(deliver(counter, before, after))
    t.equal(reader.counter, counter)
    t.equal(reader.stream, 42)
  }
})

await t.test('a payload without a stamp is not mistaken for one, nor is the next packet\'s', async t => {
  const reader = new StampReader()
  const { payload } = template('text', 1, 60)
  const wire = Buffer.from('{"kind":"reject"}' + payload.toString())
  t.notOk(reader.read(wire, 0, 17))
  t.ok(reader.read(wire, 17, wire.length))
})
