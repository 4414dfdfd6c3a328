/** The compact form, cut out of whole envelopes and events, and read again by the decoder that is given away with it. */
import t from 'tap'
import { CompactForms } from '../../broker/gateway/connection/compact-forms.ts'
import { compactEnvelope, compactEvent } from '../../broker/gateway/connection/compact.ts'
import type { Entry, Stream } from '../../broker/gateway/delivery/stream.ts'
import { messageIds } from '../../broker/engine/commit/message-id.ts'
import { envelopeContent, envelopeText, envelopeTail, eventText } from '../../broker/engine/envelope.ts'
import { readPayload } from '../../broker/engine/intake/payload.ts'
import { expand } from '../../examples/compact.ts'

const now = 1_790_000_000_000
const newId = messageIds(() => now)

interface Facts { payload: string | Buffer, contentType?: string, cid?: string, ts?: number, from?: string, to?: { kind: 'user' | 'group', id: string } }

/** The envelope that the engine writes for what somebody published. */
function written ({ payload, contentType, cid, ts = now, from = 'bob', to = { kind: 'user', id: 'alice' } }: Facts): string {
  const read = readPayload(Buffer.from(payload), contentType)
  if (!read.ok) throw new Error(read.reason)
  const id = newId()
  const given = read.cid ?? cid ?? `~7.1x2y3z.5.${id.slice(0, 13)}`
  const [a, b] = [from, to.id].sort()
  const conv = to.kind === 'group' ? `g:${to.id}` : `d:${a}:${b}`
  return envelopeText(conv, 42, envelopeContent({ id, cid: given, from, to, ts, tail: read.tail }))
}

const latin1 = (text: string): string => Buffer.from(text).toString('latin1')
const utf8 = (text: string): string => Buffer.from(text, 'latin1').toString('utf8')

/** Without a cid that the server made: it is the one thing that is left out for good. */
function told (whole: string): Record<string, unknown> {
  const envelope = JSON.parse(whole) as Record<string, unknown>
  const { cid, id } = envelope
  if (cid === id || String(cid).startsWith('~7.1x2y3z.')) delete envelope['cid']
  return envelope
}

const bodies: Array<[name: string, facts: Facts]> = [
  ['text', { payload: 'hi' }],
  ['text with quotes and backslashes', { payload: 'a "b" \\ \\" \\\\" end\\' }],
  ['text that ends with a backslash and a quote', { payload: '\\"' }],
  ['text in other scripts', { payload: '你好 🐝 ünï' }],
  ['text that looks like what follows a body', { payload: '","meta":{"x":1}},{"ts":5}]' }],
  ['control characters', { payload: '\u0000\n\u2028' }],
  ['binary', { payload: Buffer.from([0xff, 0, 0xfe]) }],
  ['JSON by its content type', { payload: '[1,{"a":"]}"}]', contentType: 'application/json' }],
  ['a number', { payload: '{"body":1.50}' }],
  ['a number with what follows', { payload: '{"body":-2e3,"replyTo":41}' }],
  ['null', { payload: '{"body":null,"meta":{"a":[]}}' }],
  ['true', { payload: '{"body":true}' }],
  ['an empty text', { payload: '{"body":""}' }],
  ['an object with brackets in its texts', { payload: '{"body":{"a":"}]","b":[{"c":"\\"}"}]},"meta":{"z":"]"}}' }],
  ['an array, with white space', { payload: '{"body":[ 1 , "x" ],"mentions":["eve"]}' }],
  ['a type of its own with a text', { payload: '{"type":"note","body":"x"}' }],
  ['a type of its own with an object', { payload: '{"type":"image","body":{"url":"x"},"replyTo":"0abc","mentions":["a","b"],"meta":{"w":1}}' }],
  ['the sender\'s cid', { payload: '{"cid":"c-7","body":"x"}' }],
  ['a cid with quotes and backslashes', { payload: '{"cid":"\\"\\\\~","body":"x"}' }],
  ['a cid that looks like the server\'s', { payload: '{"cid":"~1.abc.2.0mb2k3j4x0000","body":"x"}' }],
  ['another time than the id\'s', { payload: 'x', ts: now + 1 }],
  ['everything', { payload: '{"cid":"c","type":"t","body":{"a":[1]},"replyTo":1,"mentions":[],"meta":{}}', ts: 7 }]
]

for (const [name, facts] of bodies) {
  await t.test(name, async t => {
    const places: Array<[topic: string, reader: string | undefined, more: Partial<Facts>]> = [
      ['im/u/alice/inbox', 'alice', {}],
      ['im/u/bob/inbox', 'bob', {}],
      ['im/u/alice/inbox', 'alice', { from: 'zoe' }],
      ['im/u/bob/inbox', 'bob', { to: { kind: 'user', id: 'bob' } }],
      ['im/g/dev', undefined, { to: { kind: 'group', id: 'dev' } }],
      ['chat/x/g/dev', undefined, { to: { kind: 'group', id: 'dev' } }],
      ['im/u/bob/inbox', 'bob', { to: { kind: 'group', id: 'dev' } }]
    ]
    for (const [topic, reader, more] of places) {
      const whole = written({ ...facts, ...more })
      const compact = compactEnvelope(latin1(whole), reader) ?? ''
      t.match(compact, /^\[42,"[0-9a-z]{20}","/)
      t.strictSame(expand(topic, utf8(compact)), told(whole), `${topic}: ${compact}`)
      t.strictSame(Object.keys(expand(topic, utf8(compact))), Object.keys(told(whole)), 'in the order of the whole one')
      t.ok(compact.length < whole.length, `${compact.length} of ${whole.length}`)
    }
  })
}

await t.test('a message without a cid, and one whose cid is its id', async t => {
  const facts = { id: newId(), from: 'bob', to: { kind: 'group', id: 'dev' }, ts: now } as const
  for (const content of [envelopeContent({ ...facts, tail: envelopeTail('system', { action: 'add', users: ['eve'] }) }), envelopeContent({ ...facts, cid: facts.id, tail: '"type":"text","body":"x"' })]) {
    const whole = envelopeText('g:dev', 1, content)
    t.strictSame(expand('im/g/dev', compactEnvelope(whole, undefined) ?? ''), told(whole))
  }
})

await t.test('nothing is left of what need not be said', async t => {
  const whole = written({ payload: 'hi' })
  t.match(compactEnvelope(whole, 'alice'), /^\[42,"[0-9a-z]{20}","bob","hi"\]$/)
  t.match(compactEnvelope(whole, 'bob'), /^\[42,"[0-9a-z]{20}",">u\/alice","hi"\]$/)
})

await t.test('receipts', async t => {
  const event = (kind: string, conv: string, by: string): string => eventText(9, JSON.stringify({ kind, conv, seq: 42, by, ts: now }))
  for (const kind of ['delivered', 'read']) {
    for (const [conv, by, who] of [['d:alice:bob', 'bob', 'bob'], ['d:aaron:alice', 'aaron', 'aaron'], ['d:alice:bob', 'alice', '>u/bob'], ['d:alice:alice', 'alice', '>u/alice'], ['g:dev', 'alice', '>g/dev']] as const) {
      const whole = event(kind, conv, by)
      const compact = compactEvent(whole, 'alice') ?? ''
      t.equal(compact, `[9,"${kind}","${who}",42,${now}]`)
      t.strictSame(expand('im/u/alice/event', compact), JSON.parse(whole))
    }
  }
  t.equal(compactEvent(event('read', 'g:dev', 'bob'), 'alice'), undefined, 'who read in a group is not told by receipts')
  t.equal(compactEvent(event('read', 'd:bob:zoe', 'zoe'), 'alice'), undefined, 'nor what is between others')
  t.equal(compactEvent(eventText(9, '{"kind":"group","gid":"dev","action":"add","by":"bob"}'), 'alice'), undefined, 'other events are whole')
})

await t.test('what is not as the server writes it has no compact form', async t => {
  const damaged = envelopeText('d:alice:bob', 3, '"id":"damaged-3","from":"","ts":0,"type":"damaged","body":{"code":"damaged"}')
  const cut = '{"v":1,"conv":"d:a:b","seq":1,"id":"0abc","from":"a","to":"u/b","ts":1,"type":"text","body":'
  for (const text of ['', '{}', damaged, `${cut}"x`, `${cut}{"a":"x}`, `${cut}[{"a":1}`]) t.equal(compactEnvelope(text, 'b'), undefined, text)
  t.strictSame(expand('im/u/alice/inbox', damaged), JSON.parse(damaged), 'and the decoder takes whole ones')
})

await t.test('one form serves all that read a message one after the other, and no other one is taken for it', async t => {
  const forms = new CompactForms()
  const streamOf = (kind: Stream['kind'], user: string): Stream => ({ kind, reader: { user } }) as Stream
  const entryOf = (facts: Partial<Facts>): Entry => ({ seq: 42, payload: Buffer.from(written({ payload: 'hi', ...facts })) })
  const group = entryOf({ to: { kind: 'group', id: 'dev' } })
  const texts = ['alice', 'bob', 'carol'].map(user => Buffer.from(forms.of(streamOf('group', user), group)).toString())
  t.equal(forms.made, 1)
  t.equal(new Set(texts).size, 1)
  const direct = entryOf({})
  const read = (user: string, entry: Entry): unknown => expand(`im/u/${user}/inbox`, Buffer.from(forms.of(streamOf('direct', user), entry)).toString())
  for (const user of ['alice', 'alice', 'bob', 'bob']) t.strictSame(read(user, direct), told(Buffer.from(direct.payload).toString()), user)
  t.equal(forms.made, 3, 'once for the receiver\'s devices, once for the sender\'s')
  const large = entryOf({ payload: '🐝'.repeat(10_000) })
  for (const entry of [large, direct, large]) t.strictSame(read('alice', entry), told(Buffer.from(entry.payload).toString()))
  const event: Entry = { seq: 9, payload: Buffer.from(eventText(9, '{"kind":"group","gid":"dev"}')) }
  t.equal(forms.of(streamOf('event', 'alice'), event), event.payload, 'what has none is sent as it is')
  const view = new Uint8Array(direct.payload.length + 8).subarray(8)
  view.set(direct.payload)
  t.strictSame(read('alice', { seq: 42, payload: view }), told(Buffer.from(direct.payload).toString()), 'a part of something larger')
})
