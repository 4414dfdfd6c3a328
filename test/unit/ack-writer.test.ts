/** Acknowledgements of MQTT 5 with two user properties: the bytes are those that are written piece by piece. */
import t from 'tap'
import { AckWriter, encodeAck, packetTypes } from '../../broker/mqtt/index.ts'

const writer = new AckWriter('id', 'seq')

await t.test('the same bytes as any acknowledgement, whatever the lengths', async t => {
  for (const type of [packetTypes.puback, packetTypes.pubrec] as const) {
    for (const packetId of [1, 255, 256, 65_535]) {
      for (const [id, seq] of [['0mb2k3j4x0007f3k9q2a', '1'], ['x', '9007199254740991'], ['', ''], ['y'.repeat(108), '7'], ['y'.repeat(112), '7'], ['z'.repeat(300), '12'], ['z'.repeat(17_000), '12']] as const) {
        const expected = encodeAck(type, 5, packetId, 0, undefined, [['id', id], ['seq', seq]])
        t.equal(writer.size(id, seq), expected.length)
        const target = Buffer.alloc(expected.length + 4, 0xee)
        t.equal(writer.write(target, 2, type, packetId, id, seq), expected.length + 2)
        t.strictSame(target.subarray(2, -2), expected, `${type} ${packetId} ${id.length}`)
        t.same([target[0], target[1], target.at(-1), target.at(-2)], [0xee, 0xee, 0xee, 0xee], 'and nothing beside them')
      }
    }
  }
})
