import fc from 'fast-check'
import t from 'tap'
import { contains } from '../../broker/gateway/open-topics.ts'
import { TopicTree } from '../../broker/ordinary/persistence-topics.ts'
import { FilterTree } from '../../broker/ordinary/persistence-trie.ts'

const word = fc.constantFrom('', 'a', 'b', '$x')
const topic = fc.array(word, { minLength: 1, maxLength: 4 }).map(levels => levels.join('/')).filter(text => text !== '')
const filter = fc.tuple(fc.array(fc.oneof(word, fc.constant('+')), { maxLength: 4 }), fc.boolean())
  .map(([levels, hash]) => [...levels, ...hash || levels.length === 0 ? ['#'] : []].join('/')).filter(text => text !== '')
const matches = (filter: string, topic: string) => contains(filter.split('/'), topic.split('/'))

await t.test('filters by topic, after additions and removals', async t => {
  fc.assert(fc.property(fc.array(fc.tuple(filter, fc.constantFrom('c1', 'c2'), fc.boolean())), topic, (changes, topic) => {
    const tree = new FilterTree<string>()
    const model = new Set<string>()
    for (const [filter, client, add] of changes) {
      const name = `${client} ${filter}`
      if (add) { tree.set(filter, client, name); model.add(name) } else { tree.delete(filter, client); model.delete(name) }
    }
    t.equal(tree.size, model.size)
    t.strictSame(tree.match(topic).sort(), [...model].filter(name => matches(name.slice(3), topic)).sort())
  }))
})

await t.test('topics by filter, after additions and removals', async t => {
  fc.assert(fc.property(fc.array(fc.tuple(topic, fc.boolean())), filter, (changes, filter) => {
    const tree = new TopicTree<string>()
    const model = new Set<string>()
    for (const [topic, add] of changes) {
      if (add) { tree.set(topic, topic); model.add(topic) } else { tree.delete(topic); model.delete(topic) }
    }
    t.equal(tree.size, model.size)
    t.strictSame([...tree.match(filter)].map(([topic, value]) => topic === value ? topic : `${value} as ${topic}`).sort(), [...model].filter(topic => matches(filter, topic)).sort())
    t.strictSame([...model].filter(topic => tree.get(topic) !== topic), [])
  }))
})

await t.test('an empty level is a level', async t => {
  const tree = new TopicTree<string>()
  tree.set('foo//baz', 'x')
  t.strictSame([...tree.match('foo/+/baz')], [['foo//baz', 'x']])
})
