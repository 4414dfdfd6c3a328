/** Bytes that changed on the disk: never served as good, told where they were, and all that is whole is served. */
import { copyFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ClassicLevel } from 'classic-level'
import t from 'tap'
import type { Test } from 'tap'
import { key } from '../../broker/store/level/keys.ts'
import { inspectLevelDeep } from '../../broker/store/level/deep-inspection.ts'
import { openLevelStore } from '../../broker/store/level/store.ts'

import type { Store, StoredMessage } from '../../broker/store/store.ts'
import { message } from '../contract/operations.ts'
import { cli, freePort, run, startServer } from '../support/server.ts'
import { device } from '../support/mqtt.ts'

const conv = 'd:a:b'
const count = 40

interface Broken { store: Store, damage: string[] }

/** A closed store with messages 1 to 40 of two conversations. */
async function filled (t: Test): Promise<string> {
  const path = join(t.testdir(), 'store')
  const store = await openLevelStore({ path })
  for (let i = 1; i <= count; i++) {
    await store.commit([message(conv, 'a', { cid: `c${i}`, content: `"body":"message ${i}"` }), message('d:a:c', 'a', { content: `"body":"other ${i}"` })])
  }
  await store.commit([
    { op: 'group', group: { gid: 'g', name: 'G', owner: 'a', createdAt: 1 } },
    { op: 'member', gid: 'g', user: 'a', role: 'owner' }, { op: 'member', gid: 'g', user: 'b', role: 'member' },
    { op: 'event', user: 'a', ts: 1, content: '{"kind":"x"}' }, { op: 'event', user: 'a', ts: 1, content: '{"kind":"y"}' }
  ])
  await store.putUser({ uid: 'a', createdAt: 1, name: 'Anna' })
  await store.records.write([{ key: 'r', value: new Uint8Array([1, 2, 3]) }], true)
  await store.close()
  return path
}

/** Changes a row behind the store's back: as compaction would write altered bytes, with right checksums of LevelDB. */
async function change (path: string, row: string, to: (value: string) => string | undefined): Promise<void> {
  const level = new ClassicLevel<string, string>(join(path, 'db'), { createIfMissing: false })
  const value = await level.get(row)
  if (value === undefined) throw new Error(`no row ${JSON.stringify(row)}`)
  const changed = to(value)
  if (changed === undefined) await level.del(row)
  else await level.put(row, changed)
  await level.close()
}

async function opened (t: Test, path: string): Promise<Broken> {
  const damage: string[] = []
  const store = await openLevelStore({ path, onDamage: row => { damage.push(row) } })
  t.teardown(() => store.close())
  return { store, damage }
}

const flip = (text: string): ((value: string) => string) => value => {
  if (!value.includes(text)) throw new Error(`no ${text} in ${value}`)
  return value.replace(text, text.slice(0, -1) + String.fromCharCode(text.charCodeAt(text.length - 1) ^ 1))
}

function check (t: Test, messages: StoredMessage[], damaged: number[]): void {
  t.same(messages.map(({ seq }) => seq), Array.from({ length: count }, (_, i) => i + 1))
  for (const { seq, content, counts } of messages) {
    if (damaged.includes(seq)) t.match({ content, counts }, { content: new RegExp(`"type":"damaged".*"seq":${seq}`), counts: false })
    else if (content !== `"body":"message ${seq}"`) t.fail(`${seq}: ${content}`)
  }
}

await t.test('an altered message, and one that is gone: told in their places, in each way of reading', async t => {
  const path = await filled(t)
  await change(path, key.message(2, conv, 7), flip('message 7'))
  await change(path, key.message(2, conv, 9), () => undefined)
  await change(path, key.message(2, conv, count), flip('message 40'))
  const { store, damage } = await opened(t, path)
  const damaged = [7, 9, count]
  check(t, await store.messages(conv, { limit: 1000 }), damaged)
  check(t, await store.messages(conv, { limit: 1000, newest: true }), damaged)
  const steps: StoredMessage[] = []
  for (let page = await store.messages(conv, { limit: 3 }); page.length > 0; page = await store.messages(conv, { after: steps.at(-1)?.seq ?? 0, limit: 3 })) steps.push(...page)
  check(t, steps, damaged)
  const back: StoredMessage[] = []
  for (let page = await store.messages(conv, { limit: 3, newest: true }); page.length > 0; page = await store.messages(conv, { before: back[0]?.seq ?? 0, limit: 3, newest: true })) back.unshift(...page)
  check(t, back, damaged)
  t.equal((await store.messages(conv, { limit: 1000, maxBytes: 1 })).length, 1, 'one at least')
  t.match(await store.messagesAt([{ conv, seq: 7 }, { conv, seq: 8 }]), [{ seq: 7, content: /"type":"damaged"/ }, { seq: 8, content: '"body":"message 8"' }])
  t.equal((await store.messages('d:a:c', { limit: 1000 })).length, count, 'others are untouched')
  t.ok(damage.length > 0)
  t.match(await store.commit([message(conv, 'a')]), [{ seq: count + 1 }])
  await store.advance({ cursors: [], members: [{ user: 'b', conv, readSeq: 7 }], events: [] })
  t.match(await store.member('b', conv), { readSeq: 7 })
  t.equal(await store.hide('b', conv, [7, 8]), 1)
  await store.purge(Date.now() + 1e9, 10_000)
  t.same(await store.messages(conv, { limit: 1000 }), [])
})

await t.test('other rows: heads are made again, what is one thing is told, lists go on without it', async t => {
  const path = await filled(t)
  await change(path, key.head(conv), value => value.replace(/^\d+/, '5'))
  await change(path, key.head('d:a:c'), () => undefined)
  await change(path, key.user('a'), flip('Anna'))
  await change(path, key.groupSize('g'), value => value.replace(/^2/, '3'))
  await change(path, key.eventHead('a'), value => value.replace(/^2/, '1'))
  await change(path, key.member('b', conv), value => value.replace(/^0/, '1'))
  const { store, damage } = await opened(t, path)
  t.match(await store.heads([conv]), [{ seq: count, n: count }])
  t.match(await store.commit([message(conv, 'a'), message('d:a:c', 'a')]), [{ seq: count + 1 }, { seq: count + 1 }], 'no number is given twice')
  await t.rejects(store.user('a'), { name: 'StoreDamagedError', message: /u a/ })
  t.same(await store.users({ limit: 10 }), [])
  t.equal(await store.groupSize('g'), 2)
  t.match(await store.commit([{ op: 'event', user: 'a', ts: 1, content: '{"kind":"z"}' }]), [{ seq: 3 }])
  t.same((await store.memberships('b', { limit: 10 })).map(row => row.conv), ['g:g'])
  t.ok(damage.some(row => row === key.member('b', conv)))
})

await t.test('bytes all over a table, one bit at a time: nothing altered is ever served', { timeout: 240_000 }, async t => {
  const path = await filled(t)
  const name = readdirSync(join(path, 'db')).find(one => one.endsWith('.ldb')) as string
  const table = join(path, 'db', name)
  copyFileSync(table, `${table}.good`)
  const program = fileURLToPath(new URL('../support/flipped-table.js', import.meta.url))
  const step = 61
  const counts = { told: 0, same: 0, ended: 0 }
  let ended = false
  for (let start = 0; !ended;) {
    const { code, stdout, stderr } = await run(process.execPath, [program, path, table, String(step), String(start)], { timeoutMs: 200_000 })
    for (const line of stdout.trim().split('\n')) {
      if (line === 'end') {
        ended = true
        continue
      }
      const place = /^(\d+) (told|same)$/.exec(line)
      if (place === null) {
        if (line !== '') t.fail(line)
        continue
      }
      counts[place[2] as 'told' | 'same']++
      start = Number(place[1]) + step
    }
    if (ended) break
    // LevelDB checks its own structures with assertions: altered bytes in those end the process, and serve nothing either.
    if (code !== null && code !== 134) throw new Error(`exit ${code}: ${stderr}`)
    counts.ended++
    start += step
  }
  t.ok(counts.told > 0, JSON.stringify(counts))
})

await t.test('doctor --deep reads everything and names what is wrong', async t => {
  const path = await filled(t)
  t.match(await inspectLevelDeep(path), { ok: true, damaged: 0 })
  await change(path, key.message(2, conv, 7), flip('message 7'))
  await change(path, key.message(2, conv, 9), () => undefined)
  await change(path, key.head('d:a:c'), () => undefined)
  await change(path, key.user('a'), flip('Anna'))
  await change(path, key.record('r'), value => value + 'x')
  const { ok, damaged, text } = await inspectLevelDeep(path)
  t.notOk(ok)
  t.equal(damaged, 5, text)
  t.match(text, /'d:a:b': message 7, 9 cannot be read/)
  t.match(text, /row 'u a' is altered/)
  t.match(text, /'d:a:c' has messages and no head/)
  const ports = ['--mqtt-port', String(await freePort()), '--http-port', String(await freePort()), '--data', path]
  const { code, stdout } = await cli(['doctor', '--deep', ...ports], { cwd: t.testdirName })
  t.equal(code, 1)
  t.match(stdout, /WRONG +store content .*message 7, 9 cannot be read.*restore/)
})

await t.test('a person reads, catches up and goes on: a damaged message has its place and its marker', async t => {
  const server = await startServer(t, { config: { store: { driver: 'level' } } })
  const alice = await device(t, server.url, 'alice', { clientId: 'pen' })
  const late = await device(t, server.url, 'bob', { clientId: 'late', clean: false })
  await late.subscribe('im/u/bob/inbox')
  await late.end()
  for (let i = 1; i <= 5; i++) await alice.publish('im/to/u/bob', `message ${i}`)
  await alice.end()
  await server.stop()
  await change(server.data, key.message(2, 'd:alice:bob', 3), flip('message 3'))
  await server.restart()
  const bob = await device(t, server.url, 'bob', { clientId: 'late', clean: false })
  const got = []
  for (let i = 0; i < 5; i++) got.push(await bob.nextJson('im/u/bob/inbox'))
  t.match(got, [1, 2, 3, 4, 5].map(seq => seq === 3 ? { seq, type: 'damaged', body: { code: 'damaged', seq } } : { seq, type: 'text', body: `message ${seq}` }))
  const { messages } = await bob.result<{ messages: Array<{ seq: number, type: string }> }>('messages.history', { with: 'alice', limit: 10 })
  t.same(messages.map(({ type }) => type), ['text', 'text', 'damaged', 'text', 'text'])
  await (await device(t, server.url, 'alice', { clientId: 'pen' })).publish('im/to/u/bob', 'message 6')
  t.match(await bob.nextJson('im/u/bob/inbox'), { seq: 6, body: 'message 6' })
  t.match(server.logs(), /"row":"l .* d:alice:bob .*damaged/)
  await bob.end()
})
