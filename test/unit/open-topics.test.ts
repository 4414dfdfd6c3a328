import fc from 'fast-check'
import t from 'tap'
import { contains, OpenTopics } from '../../broker/gateway/open-topics.ts'

await t.test('nothing is open by default', async t => {
  const open = new OpenTopics([], 'im').of('', '')
  t.notOk(open.mayPublish('a'))
  t.notOk(open.maySubscribe('a'))
})

await t.test('publishing', async t => {
  const open = new OpenTopics(['sensors/#', 'a/+/c', '$app/+'], 'im').of('', '')
  for (const topic of ['sensors', 'sensors/', 'sensors/1/t', 'a/b/c', 'a//c', '$app/x']) t.ok(open.mayPublish(topic), topic)
  for (const topic of ['', 'sensor', 'a/b', 'a/b/c/d', '$app', '$SYS/x', 'sensors/+', 'sensors/#', 'im', 'im/to/u/bob']) t.notOk(open.mayPublish(topic), topic)
})

await t.test('subscribing', async t => {
  const open = new OpenTopics(['sensors/#', 'a/+/c', '$app/+'], 'im').of('', '')
  for (const filter of ['sensors', 'sensors/#', 'sensors/+', 'sensors/+/t', 'sensors/+/#', 'a/+/c', 'a/b/c', '$app/+', '$app/x']) t.ok(open.maySubscribe(filter), filter)
  for (const filter of ['', '#', '+', '+/t', '+/#', 'a/#', 'a/+/+', 'a/+', '$app/#', '$SYS/#', '$share/g/sensors/t', 'im/#', 'im', 'im/to/u/bob', 'sensors/a+', 'sensors/#/x', 'sensors/\u0000']) {
    t.notOk(open.maySubscribe(filter), JSON.stringify(filter))
  }
})

await t.test('everything open is still neither chat nor $', async t => {
  const open = new OpenTopics(['#', '$SYS/#'], 'im').of('', '')
  for (const filter of ['#', '+', '+/+', '+/#', '/', '//+', 'imx/#', 'x/im/#']) t.ok(open.maySubscribe(filter), filter)
  for (const filter of ['$x', '$x/#', '$SYS', '$SYS/#', '$SYS/+', '$share/x/y', '$share', 'im', 'im/+', 'im/#', 'im/u/bob/inbox']) t.notOk(open.maySubscribe(filter), JSON.stringify(filter))
  for (const topic of ['$SYS/x', '$SYS', '$x', 'im', 'im/g/x']) t.notOk(open.mayPublish(topic), topic)
  for (const topic of ['/', 'a', '__proto__', 'imx', 'a/$x']) t.ok(open.mayPublish(topic), topic)
  t.ok(new OpenTopics(['#'], 'chat').of('', '').mayPublish('im/x'), 'the prefix is a setting')
})

await t.test('unusable filters are refused at start', async t => {
  for (const filter of ['', 'a+', '#/a', 'a/#b', '$share/g/a', 'a\u0000']) t.throws(() => new OpenTopics([filter], 'im'), RangeError, JSON.stringify(filter))
})

/** Straight from 4.7.1: level by level, by recursion. */
function matches (filter: string[], topic: string[], first = true): boolean {
  const [f, ...fs] = filter
  const [l, ...ls] = topic
  if (first && l?.startsWith('$') === true && (f === '+' || f === '#')) return false
  if (f === '#') return true
  if (f === undefined || l === undefined) return f === undefined && l === undefined
  return (f === '+' || f === l) && (matches(fs, ls, false) || (ls.length === 0 && fs.length === 1 && fs[0] === '#'))
}

const words = ['', 'a', 'b', 'im', '$x', '$SYS']
const topics: string[] = []
for (const a of words) {
  topics.push(a)
  for (const b of words) {
    topics.push(`${a}/${b}`)
    for (const c of words) topics.push(`${a}/${b}/${c}`, `${a}/${b}/${c}/b`)
  }
}
topics.splice(topics.indexOf(''), 1)

const filters = fc.tuple(fc.array(fc.constantFrom(...words, '+'), { maxLength: 3 }), fc.boolean())
  .map(([levels, hash]) => [...levels, ...hash || levels.length === 0 ? ['#'] : []].join('/'))
  .filter(filter => filter !== '')

await t.test('containment is sound, and exact for one filter', async t => {
  t.ok(contains(['', '+', '#'], ['', '#']), "'/#' has no parent: the empty topic is none [MQTT-4.7.3-1]")
  fc.assert(fc.property(filters, filters, (outer, inner) => {
    const all = topics.filter(topic => matches(inner.split('/'), topic.split('/')))
    const covered = all.every(topic => matches(outer.split('/'), topic.split('/')))
    const said = contains(outer.split('/'), inner.split('/'))
    // Four levels of six words tell any two of these filters apart, except by '$' (a '+' or '#' in front matches none).
    return said ? covered : !covered || all.length === 0 || inner.startsWith('$')
  }), { numRuns: 3000 })
  t.pass('held')
})

await t.test('a topic is open when one filter matches it', async t => {
  fc.assert(fc.property(fc.array(filters, { maxLength: 3 }), fc.constantFrom(...topics), (open, topic) => {
    const usable = !topic.startsWith('$SYS') && topic !== 'im' && !topic.startsWith('im/')
    return new OpenTopics(open, 'im').of('', '').mayPublish(topic) === (usable && open.some(filter => matches(filter.split('/'), topic.split('/'))))
  }), { numRuns: 3000 })
  t.pass('held')
})

await t.test('what may be subscribed to shows open topics only', async t => {
  fc.assert(fc.property(fc.array(filters, { maxLength: 3 }), filters, (open, filter) => {
    const topicsOf = new OpenTopics(open, 'im').of('', '')
    if (!topicsOf.maySubscribe(filter)) return true
    if (filter.startsWith('$SYS') || filter === 'im' || filter.startsWith('im/')) return false
    return topics.filter(topic => matches(filter.split('/'), topic.split('/')))
      .every(topic => open.some(one => matches(one.split('/'), topic.split('/'))))
  }), { numRuns: 3000 })
  t.pass('held')
})

await t.test('who may read and who may write', async t => {
  const open = new OpenTopics([
    'home/#',
    { filter: 'news/#', write: ['editor'] },
    { filter: 'intake/+', read: ['worker', 'editor'] },
    { filter: 'news/drafts', read: 'nobody', write: ['worker'] },
    { filter: '{user}/{clientId}/#' },
    { filter: 'devices/{user}@{clientId}/state', read: 'everybody', write: 'nobody' }
  ], 'im')
  const may = (user: string, clientId: string, topic: string) => {
    const rights = open.of(user, clientId)
    t.equal(rights.mayRead(topic), rights.maySubscribe(topic), `${user} ${topic}`)
    return `${rights.mayRead(topic) ? 'r' : '-'}${rights.mayPublish(topic) ? 'w' : '-'}`
  }
  t.equal(may('', '', 'home/x'), 'rw', 'a filter by itself is for everybody')
  t.strictSame(['editor', 'worker', 'bob', ''].map(user => may(user, 'c', 'news/x')), ['rw', 'r-', 'r-', 'r-'])
  t.strictSame(['editor', 'worker', 'bob', ''].map(user => may(user, 'c', 'intake/x')), ['rw', 'rw', '-w', '-w'])
  t.equal(may('worker', 'c', 'news/drafts'), 'rw', 'any one rule is enough')
  t.equal(may('bob', 'c1', 'bob/c1/x'), 'rw')
  for (const topic of ['bob/c2/x', 'alice/c1/x', 'bob', '+/c1/x', 'bob/+/x', '#']) t.equal(may('bob', 'c1', topic), '--', topic)
  t.equal(may('bob', 'c1', 'devices/bob@c1/state'), 'r-')
  t.equal(open.ofSession('bob/c1').mayPublish('bob/c1/x'), true)
  t.equal(open.ofSession('bob/c/1').mayPublish('bob/c/1/x'), false, 'a client id with a level in it')
  t.equal(open.ofSession('/c1').mayPublish('/c1/x'), false, 'without a user name')
})

await t.test('no name widens a pattern', async t => {
  const open = new OpenTopics(['{clientId}/#', 'a/{user}/b/{clientId}', 'x{clientId}/+'], 'im')
  const name = fc.oneof(fc.string({ maxLength: 6 }), fc.string({ unit: fc.constantFrom('+', '#', '/', '$', 'a', '\0', '{user}', '$&', '$1'), maxLength: 5 }), fc.constantFrom('im', '$SYS', '$share', '$x'))
  const text = fc.array(fc.oneof(name, fc.constantFrom('a', 'b', 'c', 'im')), { minLength: 1, maxLength: 4 }).map(levels => levels.join('/'))
  fc.assert(fc.property(name, name, text, fc.boolean(), (user, clientId, other, own) => {
    const rights = open.of(user, clientId)
    const topic = own ? `${clientId}/${other}` : other
    if (!rights.mayPublish(topic) && !rights.maySubscribe(topic)) return true
    const levels = topic.split('/')
    if (clientId === '' || /[/+#\0]/.test(clientId) || topic.startsWith('$') || levels[0] === 'im') return false
    const itself = (a: string | undefined, b: string): boolean => a === b
    return itself(levels[0], clientId) || (levels.length === 2 && itself(levels[0], `x${clientId}`)) ||
      (levels.length === 4 && levels[0] === 'a' && itself(levels[1], user) && levels[2] === 'b' && itself(levels[3], clientId))
  }), { numRuns: 20_000 })
  t.ok(open.of('u', '$&').mayPublish('a/u/b/$&'), 'a name is a name, whatever it looks like')
  t.notOk(open.of('u', '$x').mayPublish('$x/y'), 'and opens no topic of the server')
})
