import t from 'tap'
import { Framer, ProtocolError } from '../../broker/mqtt/index.ts'
import { refuses } from '../support/frame-bytes.ts'

interface Seen { first: number, body: string, frame: string, buf: Buffer }

function collector (): { seen: Seen[], sink: (first: number, buf: Buffer, start: number, end: number, frameStart: number) => void } {
  const seen: Seen[] = []
  return { seen, sink: (first, buf, start, end, frameStart) => { seen.push({ first, body: buf.toString('hex', start, end), frame: buf.toString('hex', frameStart, end), buf }) } }
}

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex')
const framer = (maxPacketBytes = 1000): Framer => new Framer({ maxPacketBytes })

await t.test('packets within a chunk are handed out without a copy', async t => {
  const { seen, sink } = collector()
  const chunk = hex('c000 40020007 e000')
  framer().feed(chunk, sink)
  t.same(seen.map(s => [s.first, s.body, s.frame]), [[0xc0, '', 'c000'], [0x40, '0007', '40020007'], [0xe0, '', 'e000']])
  t.ok(seen.every(s => s.buf === chunk))
})

await t.test('a packet may be cut anywhere', async t => {
  const body = Buffer.alloc(300, 'x')
  const stream = Buffer.concat([hex('c000 30ac02'), body, hex('40020007c000')])
  for (let size = 1; size < stream.length; size += size < 12 ? 1 : 37) {
    const { seen, sink } = collector()
    const it = framer()
    for (let at = 0; at < stream.length; at += size) it.feed(stream.subarray(at, at + size), sink)
    t.same(seen.map(s => s.frame), ['c000', '30ac02' + body.toString('hex'), '40020007', 'c000'], `chunks of ${size}`)
    t.same([it.pendingBytes, it.allocatedBytes], [0, 0])
  }
})

await t.test('types and flags that no client may send', async t => {
  const allowed = new Set([0x10, 0x40, 0x50, 0x62, 0x70, 0x82, 0xa2, 0xc0, 0xe0, 0xf0])
  for (let flags = 0; flags < 16; flags++) if ((flags & 6) !== 6) allowed.add(0x30 | flags)
  for (let first = 0; first < 256; first++) {
    const it = framer()
    const feed = (): void => it.feed(Buffer.from([first]), () => t.fail('nothing is complete'))
    if (allowed.has(first)) {
      feed()
      t.equal(it.pendingBytes, 1, `0x${first.toString(16)} is allowed`)
    } else {
      const type = first >> 4
      refuses(t, `0x${first.toString(16)}`, feed, [2, 9, 11, 13].includes(type) ? 0x82 : 0x81)
      t.ok(it.closed)
    }
  }
})

await t.test('the remaining length', async t => {
  const { seen, sink } = collector()
  const it = framer(300_000_000)
  refuses(t, 'five bytes', () => it.feed(hex('30 ffffffff 01'), sink), 0x81)
  refuses(t, 'five bytes, the fifth not there yet', () => framer(300_000_000).feed(hex('30 80808080'), sink), 0x81)
  refuses(t, 'two bytes for 0', () => framer().feed(hex('e0 8000'), sink), 0x81)
  refuses(t, 'two bytes for 4', () => framer().feed(hex('30 8400 00016161'), sink), 0x81)
  refuses(t, 'four bytes for 127', () => framer().feed(hex('30 ff808000'), sink), 0x81)
  t.same(seen, [])
  framer().feed(hex('30 04 00016161'), sink)
  framer().feed(Buffer.concat([hex('30 8001'), Buffer.alloc(128)]), sink)
  t.same(seen.map(s => s.body.length / 2), [4, 128], 'the fewest bytes are right')
})

await t.test('a PINGREQ has no body', async t => {
  const { seen, sink } = collector()
  refuses(t, 'a PINGREQ of one byte', () => framer().feed(hex('c00100'), sink), 0x81)
  refuses(t, 'a PINGREQ of 128 bytes', () => framer().feed(hex('c08001'), sink), 0x81)
  framer().feed(hex('c000'), sink)
  t.equal(seen.length, 1)
})

await t.test('the cap counts the whole packet, and is read for every packet', async t => {
  const { seen, sink } = collector()
  const it = framer(4)
  it.feed(hex('40020001'), sink)
  refuses(t, 'one byte more', () => it.feed(hex('3003'), sink), 0x95)
  const later = framer(4)
  later.maxPacketBytes = 5
  later.feed(hex('3003 000161'), sink)
  t.same(seen.map(s => s.frame), ['40020001', '3003000161'])
})

await t.test('what is claimed costs nothing', async t => {
  const { sink } = collector()
  const capped = framer(200_000)
  refuses(t, 'a claim of 256 MB', () => capped.feed(hex('30 ffffff7f'), sink), 0x95)
  t.same([capped.pendingBytes, capped.allocatedBytes], [0, 0])
  capped.feed(Buffer.alloc(100_000, 0x41), sink)
  t.same([capped.pendingBytes, capped.allocatedBytes], [0, 0], 'a closed framer keeps nothing')

  const it = framer(268_435_460)
  it.feed(hex('30 ffffff7f'), sink)
  t.equal(it.pendingBytes, 5)
  t.ok(it.allocatedBytes <= 256, 'a header of 256 MB alone holds no more than a small buffer')
  let fed = 5
  for (const size of [1, 1, 100, 500, 1, 4000, 1, 20_000]) {
    it.feed(Buffer.alloc(size, 97), sink)
    fed += size
    t.equal(it.pendingBytes, fed)
    t.ok(it.allocatedBytes <= Math.max(256, 2 * fed), `${it.allocatedBytes} for ${fed} bytes`)
  }
  it.close()
  t.same([it.pendingBytes, it.allocatedBytes], [0, 0])
})

await t.test('a pause keeps the rest, resume goes on', async t => {
  const { seen, sink } = collector()
  const it = framer()
  const pausing: typeof sink = (...args) => {
    it.pause()
    sink(...args)
  }
  it.feed(hex('40020001 40020002 4002'), pausing)
  t.same([seen.length, it.paused, it.pendingBytes], [1, true, 6])
  it.feed(hex('0003 c0'), sink)
  t.same([seen.length, it.pendingBytes], [1, 9], 'fed while paused')
  it.resume(pausing)
  t.same([seen.length, it.paused, it.pendingBytes], [2, true, 5])
  it.resume(sink)
  t.same(seen.map(s => s.body), ['0001', '0002', '0003'])
  t.same([it.paused, it.pendingBytes], [false, 1])
  it.feed(hex('00'), sink)
  t.equal(seen.length, 4)
})

await t.test('pause and resume by one call of the sink change nothing', async t => {
  const { seen, sink } = collector()
  const it = framer()
  it.feed(hex('40020001 40020002'), (...args) => {
    it.pause()
    sink(...args)
    it.resume(sink)
  })
  t.same(seen.map(s => s.body), ['0001', '0002'])
  t.equal(it.pendingBytes, 0)
})

await t.test('bytes fed by the sink come after those of the chunk', async t => {
  const { seen, sink } = collector()
  const it = framer()
  let once = true
  it.feed(hex('40020001 40020002'), (...args) => {
    sink(...args)
    if (once) it.feed(hex('40020003'), sink)
    once = false
  })
  t.same(seen.map(s => s.body), ['0001', '0002', '0003'])
})

await t.test('what the sink throws passes through, the packets after it stay', async t => {
  const { seen, sink } = collector()
  const it = framer()
  const fault = new Error('sink')
  const throwing = (): void => { throw fault }
  t.throws(() => it.feed(hex('40020001 40020002 4002'), throwing), fault)
  t.equal(it.pendingBytes, 6)
  t.equal(it.closed, false)
  it.feed(hex('0003'), sink)
  t.same(seen.map(s => s.body), ['0002', '0003'])
  t.throws(() => { it.feed(hex('40'), sink); it.feed(hex('020004c000'), throwing) }, fault, 'also for a packet in pieces')
  t.equal(it.pendingBytes, 2)
  it.resume(sink)
  t.equal(seen.at(-1)?.frame, 'c000')
})

await t.test('packets before a fault are handed out, none after it', async t => {
  const { seen, sink } = collector()
  const it = framer()
  t.throws(() => it.feed(hex('40020001 00 40020002'), sink), ProtocolError)
  it.feed(hex('40020003'), sink)
  it.resume(sink)
  t.same(seen.map(s => s.body), ['0001'])
})

await t.test('close by the sink ends it', async t => {
  const { seen, sink } = collector()
  const it = framer()
  it.feed(hex('40020001 40020002'), (...args) => {
    sink(...args)
    it.close()
  })
  t.same([seen.length, it.pendingBytes, it.closed], [1, 0, true])
})

await t.test('a PUBLISH over the limit is skipped: its head is handed out when all of it has come, and nothing else is kept', async t => {
  const payload = 5_000_000
  const remaining = 2 + 3 + 2 + payload
  const varint = [remaining & 0x7f | 0x80, remaining >> 7 & 0x7f | 0x80, remaining >> 14 & 0x7f | 0x80, remaining >> 21]
  const packet = Buffer.concat([Buffer.from([0x32, ...varint, 0, 3, 0x61, 0x2f, 0x62, 0, 9]), Buffer.alloc(payload, 'x'), Buffer.from([0xc0, 0])])
  for (const step of [1021, 65_536, packet.length]) {
    const one = framer(1000)
    one.skips = true
    const got: string[] = []
    let most = 0
    for (let at = 0; at < packet.length; at += step) {
      one.feed(Buffer.from(packet.subarray(at, at + step)), (first, buf, start, end) => {
        got.push(`${first.toString(16)} ${one.cutBytes} ${buf.subarray(start, Math.min(end, start + 7)).toString('hex')}`)
        t.ok(end - start <= 65_539)
      })
      most = Math.max(most, one.allocatedBytes)
    }
    t.strictSame(got, [`32 ${packet.length - 2} 0003612f620009`, 'c0 0 '], `in steps of ${step}`)
    t.ok(most < 150_000, 'bytes of memory')
  }
  const other = framer(1000)
  other.skips = true
  t.throws(() => { other.feed(Buffer.from([0x82, 0xff, 0xff, 0x03]), () => {}) }, 'only a PUBLISH is skipped')
})
