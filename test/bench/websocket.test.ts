import t from 'tap'
import { Unframer, frame } from '../../bench/websocket.ts'

const accepted = 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n'

/** A frame as a server sends it, unmasked. */
function served (payload: Buffer, opcode = 2): Buffer {
  const head = Buffer.alloc(payload.length < 126 ? 2 : payload.length < 65536 ? 4 : 10)
  head[0] = 0x80 | opcode
  head[1] = head.length === 2 ? payload.length : head.length === 4 ? 126 : 127
  if (head.length === 4) head.writeUInt16BE(payload.length, 2)
  if (head.length === 10) head.writeBigUInt64BE(BigInt(payload.length), 2)
  return Buffer.concat([head, payload])
}

await t.test('payloads come out whole however the stream is cut', async t => {
  const payloads = [Buffer.from('small'), Buffer.alloc(300, 'm'), Buffer.alloc(70_000, 'l'), Buffer.from('end')]
  const stream = Buffer.concat([Buffer.from(accepted), ...payloads.map(payload => served(payload))])
  for (const step of [101, 1000, stream.length]) {
    const unframer = new Unframer()
    const found: Buffer[] = []
    for (let at = 0; at < stream.length; at += step) {
      const part = Buffer.from(stream.subarray(at, at + step))
      const bytes = unframer.push(part, part.length)
      found.push(Buffer.from(unframer.data.subarray(0, bytes)))
    }
    t.ok(Buffer.concat(found).equals(Buffer.concat(payloads)), `in steps of ${step}`)
  }
})

await t.test('a header may be cut anywhere', async t => {
  const payloads = [Buffer.from('small'), Buffer.alloc(300, 'm'), Buffer.from('end')]
  const stream = Buffer.concat([Buffer.from(accepted), ...payloads.map(payload => served(payload))])
  const unframer = new Unframer()
  let found = ''
  for (const byte of stream) {
    const bytes = unframer.push(Buffer.from([byte]), 1)
    found += unframer.data.toString('utf8', 0, bytes)
  }
  t.equal(found, Buffer.concat(payloads).toString())
})

await t.test('a ping is answered and not taken for data', async t => {
  const unframer = new Unframer()
  const stream = Buffer.concat([Buffer.from(accepted), served(Buffer.from('hi'), 9), served(Buffer.from('data'))])
  const bytes = unframer.push(stream, stream.length)
  t.equal(unframer.data.toString('utf8', 0, bytes), 'data')
  t.same(unframer.pongs, [frame(Buffer.from('hi'), 10)])
})

await t.test('a refused upgrade throws', async t => {
  const refused = Buffer.from('HTTP/1.1 404 Not Found\r\n\r\n')
  t.throws(() => new Unframer().push(refused, refused.length), /404/)
})

await t.test('a frame is masked and too large a one is refused', async t => {
  t.same(frame(Buffer.from('ab')), Buffer.from([0x82, 0x82, 0, 0, 0, 0, 0x61, 0x62]))
  t.same(frame(Buffer.alloc(200)).subarray(0, 4), Buffer.from([0x82, 0xfe, 0, 200]))
  t.throws(() => frame(Buffer.alloc(65536)), RangeError)
})
