/** The reader of JSON texts says what `JSON.parse` says, and where the values stand. */
import fc from 'fast-check'
import t from 'tap'
import { membersOf, spanOf } from '../../broker/engine/intake/json-spans.ts'

const parsed = (text: string): { value: unknown } | undefined => {
  try { return { value: JSON.parse(text) as unknown } } catch { return undefined }
}
const depthOf = (value: unknown): number => typeof value !== 'object' || value === null ? 0 : 1 + Math.max(0, ...Object.values(value).map(depthOf))
const finite = (value: unknown): boolean => typeof value === 'number' ? Number.isFinite(value) : typeof value !== 'object' || value === null || Object.values(value).every(finite)

function same (text: string): void {
  const expected = parsed(text)
  const span = spanOf(text)
  if ((span === undefined) !== (expected === undefined)) throw new Error(`${text}: ${span === undefined ? 'refused' : 'taken'}`)
  if (span === undefined || expected === undefined) return
  const cut = JSON.parse(text.slice(span.from, span.to)) as unknown
  if (JSON.stringify(cut) !== JSON.stringify(expected.value)) throw new Error(`${text}: ${span.from} to ${span.to}`)
  // Of equal names JSON.parse keeps the last; the text has them all.
  if (span.depth < depthOf(expected.value)) throw new Error(`${text}: depth ${span.depth}`)
  if (span.finite && !finite(expected.value)) throw new Error(`${text}: finite`)
}

const corners = ['', ' ', '{', '}', '[', ']', '[]', '{}', '[[]]', '{"a":{}}', '[1,]', '[,1]', '{"a"}', '{"a":}', '{"a":1,}', '{,}', '{"a" : 1 }', ' [ 1 , 2 ] ', '1 2', '"a""b"', 'nul', 'nulll', 'null', 'true', 'false', 'tru', 'True',
  '0', '-0', '00', '01', '-01', '+1', '1.', '.1', '1.0', '-', '--1', '1e', '1e+', '1E5', '1e-5', '1e999', '-1e999', '1e308', '1.8e308', '1e0000001', '0x10', 'NaN', 'Infinity', '-Infinity', '9'.repeat(308), '9'.repeat(400), `-${'9'.repeat(400)}`, `0.${'9'.repeat(400)}`,
  '"', '"\\"', '"\\\\"', '"\\\\\\"', '"\\n"', '"\\x"', '"\\u12"', '"\\u12g4"', '"\\uD800"', '"\\u0000"', '"\n"', '"\u0000"', '"\u001f"', '"\u007f"', '"é\u2028"', '"\ud83d\ude00"', '\ufeff1', '\u00a01', '\v1', '[1}', '{"a":1]', '[[[[', ']]]]', '{"a":[1,{"b":[]}]}',
  '{"__proto__":1}', '{"a":1,"a":2}', '{"a":[[[]]],"a":1}', `${'['.repeat(900)}${']'.repeat(900)}`, '['.repeat(900), '{"a":'.repeat(900)]

await t.test('what is JSON and what is not', t => {
  for (const text of corners) same(text)
  t.pass(`${corners.length} texts`)
  t.end()
})

await t.test('depth and range', t => {
  t.match(spanOf(' [[1],{"a":[]}] '), { from: 1, to: 15, depth: 3, finite: true })
  t.match(spanOf('[1e999]'), { depth: 1, finite: false })
  t.match(spanOf('"1e999"'), { depth: 0, finite: true })
  t.end()
})

await t.test('any value, and any value with a character put in, taken out or changed', t => {
  const place = fc.record({ at: fc.nat({ max: 200 }), what: fc.constantFrom('', ' ', '"', '\\', '{', '}', '[', ']', ',', ':', '0', '1', '-', '+', '.', 'e', 'u', 'n', '\n', '\u0001', 'é'), cut: fc.nat({ max: 2 }) })
  fc.assert(fc.property(fc.json({ maxDepth: 5 }), fc.array(place, { maxLength: 3 }), (json, changes) => {
    let text = json
    for (const { at, what, cut } of changes) {
      const from = at % (text.length + 1)
      text = text.slice(0, from) + what + text.slice(from + cut)
    }
    same(text)
  }), { numRuns: 5000 })
  t.end()
})

await t.test('the members of an object', t => {
  const known = new Set(['a', 'b', '__proto__'])
  const cut = (text: string): Record<string, string> | undefined => {
    const members = membersOf(text, known)
    return members && Object.fromEntries([...members].map(([name, { from, to }]) => [`_${name}`, text.slice(from, to)]))
  }
  t.same(cut(' { "a" : [1, 2] ,"b":"x" } '), { _a: '[1, 2]', _b: '"x"' })
  t.same(cut('{}'), {})
  t.same(cut('{"a":1,"a":2}'), { _a: '2' }, 'the last of equal names')
  t.same(cut('{"\\u0061":1}'), { _a: '1' }, 'names may be escaped')
  t.same(cut('{"__proto__":1}'), { ___proto__: '1' })
  for (const text of ['{"c":1}', '{"a":1,"c":2}', '[]', '1', '{"a":1}x', '{"a":1', '{"a":1,}', '{a:1}', '{"a":1 "b":2}', '{"a":tru}', '']) t.equal(cut(text), undefined, text)
  fc.assert(fc.property(fc.dictionary(fc.constantFrom('a', 'b'), fc.jsonValue()), fc.nat({ max: 3 }), (object, indent) => {
    const members = membersOf(JSON.stringify(object, null, indent), known)
    const text = JSON.stringify(object, null, indent)
    if (members === undefined || members.size !== Object.keys(object).length) throw new Error(text)
    for (const [name, { from, to }] of members) if (JSON.stringify(JSON.parse(text.slice(from, to))) !== JSON.stringify(object[name])) throw new Error(text)
  }))
  t.end()
})
