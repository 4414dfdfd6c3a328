import { readFileSync } from 'node:fs'
import t from 'tap'
import { codes } from '../../broker/errors.ts'
import { requests, verbs } from '../../broker/operations.ts'
import { methodTable } from '../../broker/operations/present.ts'
import { Topics } from '../../broker/topics.ts'
import { packageRoot } from '../support/package-root.ts'

const document = readFileSync(new URL('topics.md', packageRoot), 'utf8')
const topics = new Topics()

/** First cells of the rows of the table that follows `marker`. */
function rowsAfter (marker: string): string[][] {
  const from = document.indexOf(marker)
  if (from === -1) throw new Error(`topics.md has no '${marker}'`)
  const lines = document.slice(from).split('\n')
  const start = lines.findIndex(line => line.startsWith('|---'))
  const rows = []
  for (const line of lines.slice(start + 1)) {
    if (!line.startsWith('|')) break
    rows.push(line.split('|').slice(1, -1).map(cell => cell.trim()))
  }
  return rows
}

/** What stands in back quotes. */
function quoted (text: string): string[] { return [...text.matchAll(/`([^`]+)`/g)].map(match => match[1] as string) }

function filled (topic: string): string {
  return topic.replace('{me}', 'alice').replace('{uid}', 'bob').replace('{gid}', 'dev').replace('{rid}', '7').replace('{method}', 'groups.list')
}

await t.test('every topic that the document lets one publish to is one', async t => {
  const documented = rowsAfter('## Publish').flatMap(row => quoted(row[0] as string))
  t.ok(documented.length >= 5)
  for (const topic of documented) t.notOk('refuse' in topics.target(filled(topic)), topic)
  t.same(documented.filter(topic => topic.startsWith('im/to/u/{uid}/')), [...verbs.keys()].map(verb => `im/to/u/{uid}/${verb}`), 'and every verb is there')
  t.same(documented.filter(topic => topic.startsWith('im/to/g/{gid}/')), [...verbs.keys()].map(verb => `im/to/g/{gid}/${verb}`), 'of groups too')
  for (const [name, { payload }] of verbs) {
    for (const [topic = '', , shown] of rowsAfter('## Publish')) if (topic.endsWith(`/${name}\``)) t.equal(shown, payload, topic)
  }
})

await t.test('every filter of the document is granted to its user and refused to another one', async t => {
  const documented = rowsAfter('## Subscribe').flatMap(row => quoted(row[0] as string)).filter(filter => filter.startsWith('im/'))
  t.ok(documented.length >= 10)
  for (const filter of documented) {
    t.ok(topics.filter(filled(filter), 'alice'), filter)
    if (filter.includes('{me}')) t.notOk(topics.filter(filled(filter), 'mallory'), `${filter} for another user`)
  }
  for (const topic of [topics.inbox('alice'), topics.event('alice'), topics.notice('alice'), topics.compact('alice'), topics.answer('alice', '7'), topics.group('dev'), topics.server()]) {
    t.ok(documented.map(filled).includes(topic), `${topic} is documented`)
  }
})

await t.test('the filters that the document calls refused are refused', async t => {
  for (const filter of ['#', '+/#', 'im/#', 'im/g/#', 'im/+', 'im/u/#', 'im/u/+/inbox', 'im/u/bob/inbox', 'im/to/u/alice', 'im/to/#', '$share/x/im/u/alice/inbox', 'im/u/alice/inbox/x', 'im/rpc/x', 'im', 'im/', 'im/presence/bob']) {
    t.notOk(topics.filter(filter, 'alice'), filter)
  }
})

await t.test('the table of codes is the one of the server', async t => {
  const documented = rowsAfter('<!-- codes:').map(row => [quoted(row[0] as string)[0], Number(row[1]), Number(row[2])])
  t.same(documented, Object.entries(codes).map(([code, { status, reasonCode }]) => [code, status, reasonCode]))
})

await t.test('topics that are none', async t => {
  for (const topic of ['im', 'im/', 'im/to', 'im/to/u', 'im/to/u/', 'im/to/x/bob', 'im/to/u/a b', 'im/to/u/bob/Read', 'im/to/u/bob/', 'im/to/u/bob/read/x', 'im/rpc', 'im/rpc/a/b', 'im/rpc/__proto__', `im/to/u/${'x'.repeat(65)}`]) {
    t.ok('refuse' in topics.target(topic), topic)
  }
  for (const topic of ['im/u/alice/inbox', 'im/g/dev', 'im/presence/alice', 'im/server']) {
    t.match(topics.target(topic), { refuse: 'forbidden' }, topic)
  }
  for (const id of ['__proto__', '..', 'constructor']) t.same(topics.target(`im/to/u/${id}`), { kind: 'user', id })
})

await t.test('the table of requests is made from that of the operations, and each is a topic', async t => {
  const [, table] = /<!-- methods: [^\n]* -->\n([^]*)<!-- \/methods -->/.exec(document) ?? []
  t.equal(table, methodTable(), '`npm run documents` writes it')
  for (const method of requests.keys()) t.same(topics.target(`im/rpc/${method}`), { kind: 'rpc', method })
  for (const verb of verbs.keys()) t.same(topics.target(`im/to/g/dev/${verb}`), { kind: 'group', id: 'dev', verb })
})
