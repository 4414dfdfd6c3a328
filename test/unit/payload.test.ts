import t from 'tap'
import { maxDepth, maxMentions, maxMetaLength, readPayload } from '../../broker/engine/intake/payload.ts'
import type { Read, Unread } from '../../broker/engine/intake/payload.ts'

const bytes = (text: string): Buffer => Buffer.from(text)
const read = (text: string | Uint8Array, contentType?: string, utf8?: boolean): Read => {
  const result = readPayload(typeof text === 'string' ? bytes(text) : text, contentType, utf8)
  if (!result.ok) throw new Error(result.reason)
  t.strictSame((JSON.parse(`{${result.tail}}`) as { body: unknown }).body, result.body, 'the written body is the read one')
  return result
}
const refused = (text: string | Uint8Array, contentType?: string, utf8?: boolean): Unread => {
  const result = readPayload(typeof text === 'string' ? bytes(text) : text, contentType, utf8)
  if (result.ok) throw new Error(`not refused: ${result.tail}`)
  return result
}

await t.test('what is no envelope is text, as typed', async t => {
  for (const text of ['hello', '42', '[1]', '{}', '{"temp":21}', ' {"body":"x","temp":21}', '{"body":', '{', 'null', '"x"', ' ', '\u0000', '\uFEFFx', '{"__proto__":1}', '{"a":'.repeat(30_000)]) {
    t.match(read(text), { type: 'text', body: text, cid: undefined }, text.slice(0, 20))
  }
})

await t.test('an object of envelope keys is structured', async t => {
  t.match(read(' {"cid":"c-7","body":"hi"}'), { type: 'text', body: 'hi', cid: 'c-7' })
  t.match(read('{"body":""}'), { type: 'text', body: '' })
  t.match(read('{"body":{"a":[1]}}'), { type: 'json', body: { a: [1] } })
  t.match(read('{"type":"location","body":null}'), { type: 'location', body: null })
  t.match(read('{"type":"binary","body":"aGk="}'), { type: 'binary', body: 'aGk=' })
  t.equal(read('{"body":"x","replyTo":4,"mentions":["bob"],"meta":{"a":1}}').tail, '"type":"text","body":"x","replyTo":4,"mentions":["bob"],"meta":{"a":1}')
  t.match(read('{"body":"first","body":"last"}'), { body: 'last' }, 'the last of two equal keys counts')
  const nested = read('{"body":{"__proto__":{"x":1},"constructor":2}}')
  t.equal(nested.tail, '"type":"json","body":{"__proto__":{"x":1},"constructor":2}')
  t.equal(({} as { x?: number }).x, undefined, 'no prototype is touched')
})

await t.test('what is structured goes on as it was written', async t => {
  t.equal(read('{"body": {"b":1, "2":12345678901234567890, "1":1.0} }').tail, '"type":"json","body":{"b":1, "2":12345678901234567890, "1":1.0}')
  t.equal(read('{"body":"\\u0041","meta":{ "a" : 1 }}').tail, '"type":"text","body":"\\u0041","meta":{ "a" : 1 }')
  t.equal(read(' [1,  2]', 'application/json').tail, '"type":"json","body":[1,  2]')
  const { body, made } = read('{"body":{"a":1}}')
  t.ok(made)
  t.same(body, { a: 1 })
  t.notOk(read('{"body":1}').made)
  for (const member of ['cid', 'type', 'replyTo']) t.match(refused(`{"${member}":{"a":1},"body":"x"}`), { code: 'bad_payload' }, member)
  t.match(refused(`{"mentions":[${' '.repeat(20_000)}],"body":"x"}`), { code: 'bad_payload' })
})

await t.test('structured messages with wrong members are refused', async t => {
  t.match(refused(''), { code: 'bad_payload' })
  t.match(refused('{"cid":"a"}'), { code: 'bad_payload', cid: 'a' })
  t.match(refused('{"cid":"a","type":"system","body":"x"}'), { code: 'forbidden', cid: 'a' })
  t.match(refused('{"body":1,"type":"text"}'), { code: 'bad_payload' })
  t.match(refused('{"body":"?","type":"binary"}'), { code: 'bad_payload' })
  for (const cid of ['""', '1', '"é"', '"\\n"', JSON.stringify('x'.repeat(65))]) t.match(refused(`{"cid":${cid},"body":"x"}`), { code: 'bad_payload', cid: undefined }, cid)
  for (const type of ['""', '1', '"a b"', JSON.stringify('x'.repeat(65))]) t.match(refused(`{"type":${type},"body":"x"}`), { code: 'bad_payload' }, type)
  for (const replyTo of ['0', '-1', '1.5', '1e300', 'null', '"a/b"', '{}']) t.match(refused(`{"replyTo":${replyTo},"body":"x"}`), { code: 'bad_payload' }, replyTo)
  for (const mentions of ['"bob"', '[1]', '["a b"]', JSON.stringify(new Array(maxMentions + 1).fill('a'))]) t.match(refused(`{"mentions":${mentions},"body":"x"}`), { code: 'bad_payload' }, mentions.slice(0, 20))
  read(JSON.stringify({ body: 'x', mentions: new Array(maxMentions).fill('a') }))
  for (const meta of ['1', '[]', 'null']) t.match(refused(`{"meta":${meta},"body":"x"}`), { code: 'bad_payload' }, meta)
  read(JSON.stringify({ body: 'x', meta: { a: 'x'.repeat(maxMetaLength - 8) } }))
  t.match(refused(JSON.stringify({ body: 'x', meta: { a: 'x'.repeat(maxMetaLength - 7) } })), { code: 'too_large' })
})

await t.test('depth and numbers that cannot be kept are refused', async t => {
  const nest = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth)
  read(`{"body":${nest(maxDepth)}}`)
  t.match(refused(`{"body":${nest(maxDepth + 1)}}`), { code: 'bad_payload' })
  t.match(refused(`{"body":${nest(30_000)}}`), { code: 'bad_payload' })
  t.match(refused(`{"body":"x","meta":{"a":${nest(maxDepth)}}}`), { code: 'bad_payload' })
  t.match(refused('{"body":1e999}'), { code: 'bad_payload' })
})

await t.test('bytes and content types', async t => {
  const wild = Uint8Array.of(0xff, 0x00, 0x7b)
  t.match(read(wild), { type: 'binary', body: '/wB7' })
  t.match(read('{"body":"x"}', 'text/plain; charset=utf-8'), { type: 'text', body: '{"body":"x"}' })
  t.match(read('hi', 'application/octet-stream'), { type: 'binary', body: 'aGk=' })
  t.match(read('{"temp":21}', 'Application/JSON; charset=utf-8'), { type: 'json', body: { temp: 21 } })
  t.match(read('{"body":"x","cid":"1"}', 'application/json'), { type: 'text', body: 'x', cid: '1' })
  t.match(read('42', 'application/json'), { type: 'json', body: 42 })
  t.match(read('{"body":"x"}', 'image/png'), { type: 'text', body: 'x' }, 'other types say nothing')
  t.match(refused('{', 'application/json'), { code: 'bad_payload' })
  t.match(refused('['.repeat(40) + ']'.repeat(40), 'application/json'), { code: 'bad_payload' })
  t.match(refused(wild, 'text/plain'), { code: 'bad_payload' })
  t.match(refused(wild, undefined, true), { code: 'bad_payload' })
})
