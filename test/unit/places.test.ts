/** What an id of a stream says. */
import t from 'tap'
import { mostPlaces, Places, readPosition } from '../../broker/gateway/streams/places.ts'
import { placeName } from '../../broker/link/position.ts'

const time = 1_790_000_000_000

await t.test('an id says what was had, and is read again', t => {
  const places = new Places({ time, places: new Map() }, time)
  t.strictSame(readPosition(places.toString()), { time, places: new Map() })
  const numbers = [1, 127, 128, 16_384, 2 ** 32, Number.MAX_SAFE_INTEGER]
  for (const [i, seq] of numbers.entries()) t.ok(places.move(placeName(`d:alice:${i}`), seq, time))
  const id = places.toString()
  t.match(id, /^[\w.-]+$/)
  t.strictSame(readPosition(id), { time, places: new Map(numbers.map((seq, i) => [placeName(`d:alice:${i}`), seq])) })
  t.strictSame(new Places(readPosition(id) ?? { time: 0, places: new Map() }, time).toString(), id)
  t.end()
})

await t.test('what rests needs no name any more', t => {
  const places = new Places({ time, places: new Map() }, time)
  places.move('aaaaaaaa', 1, time + 1000)
  places.move('bbbbbbbb', 1, time + 9000)
  places.advance(time + 2500)
  t.equal(places.position.places.size, 2, 'the clocks of servers differ')
  places.advance(time + 5000)
  t.strictSame(places.position, { time: time + 5000, places: new Map([['bbbbbbbb', 1]]) })
  places.advance(time)
  t.equal(places.position.time, time + 5000, 'it does not go back')
  t.end()
})

await t.test('it is bounded, and what is none is not read', t => {
  const places = new Places({ time, places: new Map() }, time)
  for (let i = 0; i < mostPlaces; i++) t.ok(places.move(placeName(`g:${i}`), 1_000_000, time))
  t.notOk(places.move(placeName('g:more'), 1, time))
  t.ok(places.move(placeName('g:0'), 1_000_001, time), 'who has a place keeps it')
  const id = places.toString()
  t.ok(id.length < 8192, `${id.length} characters`)
  t.equal(readPosition(id)?.places.size, mostPlaces)
  for (const text of ['', '1', '1.', '2.abc.', '1.abc', '1.ABC.', '1.abc.AAAA', `${id.slice(0, -1)}`, `1.abc.${'A'.repeat(20_000)}`, `1.abc.${Buffer.alloc(20, 255).toString('base64url')}`, 'x'.repeat(1000)]) t.equal(readPosition(text), undefined, text.slice(0, 20))
  t.end()
})
