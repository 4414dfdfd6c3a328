import t from 'tap'
import fc from 'fast-check'
import { JsonText } from '../../broker/engine/requests/json-text.ts'

await t.test('any texts, in their order', t => {
  const unit = fc.constantFrom('a', 'ä', '€', '\u{1f600}', '"')
  const text = fc.tuple(unit, fc.integer({ min: 0, max: 9000 })).map(([one, count]) => one.repeat(count))
  fc.assert(fc.property(fc.array(text, { maxLength: 30 }), texts => {
    const written = new JsonText('[')
    for (const one of texts) written.add(one)
    written.add(']')
    return written.toString() === `[${texts.join('')}]`
  }))
  t.end()
})

await t.test('large texts take memory of their own size', t => {
  const answer = new JsonText('[')
  for (let i = 0; i < 8; i++) answer.add('x'.repeat(60_000)).add(',')
  const memory = new Set(answer.parts.map(part => part.buffer))
  const bytes = [...memory].reduce((sum, buffer) => sum + buffer.byteLength, 0)
  t.ok(bytes < 8 * 60_000 + 100_000, `${bytes} bytes for ${8 * 60_001 + 1}`)
  t.end()
})
