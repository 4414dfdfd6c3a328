import t from 'tap'
import fc from 'fast-check'
import { isDeeper } from '../../broker/engine/requests/json-depth.ts'

const deeper = (text: string, max: number): boolean => isDeeper(Buffer.from(text), max)

function depthOf (value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0
  return 1 + Math.max(0, ...Object.values(value).map(depthOf))
}

await t.test('brackets in strings do not count', t => {
  t.equal(deeper('[[[1]]]', 3), false)
  t.equal(deeper('[[[1]]]', 2), true)
  t.equal(deeper('{"a":{"b":[]}}', 2), true)
  t.equal(deeper('["[[[[[[", "{{{{"]', 1), false)
  t.equal(deeper(String.raw`["\"[[[[", "\\"]`, 1), false)
  t.equal(deeper(String.raw`["\\", [1]]`, 1), true)
  t.equal(deeper('["[[[[', 1), false, 'a string without an end')
  t.equal(deeper('', 0), false)
  t.end()
})

await t.test('any JSON is as deep as it is', t => {
  fc.assert(fc.property(fc.jsonValue({ maxDepth: 6 }), value => {
    const [text, depth] = [JSON.stringify(value), depthOf(value)]
    return !deeper(text, depth) && (depth === 0 || deeper(text, depth - 1))
  }))
  t.end()
})
