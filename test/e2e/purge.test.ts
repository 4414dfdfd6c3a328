/** `sabethes purge`: by which retention, what it says, and how it ends, with the server running and stopped. */
import { writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import { openLevelStore } from '../../broker/store/level/store.ts'
import type { Store } from '../../broker/store/store.ts'
import { message } from '../contract/operations.ts'
import { cli, startServer, type Server } from '../support/server.ts'
import { sized } from '../support/store-choice.ts'

/** More than two steps of a round: it pauses between them. */
const old = sized({ level: 1200, mongodb: 600 })
const young = 3
/** Seconds; the messages of the test are as old as 1970, or made now. */
const retentionSeconds = 3600

async function storeOf ({ data, database }: Server): Promise<Store> {
  if (database === undefined) return await openLevelStore({ path: data })
  const { openMongoStore } = await import('../../broker/store/mongodb/store.ts')
  return await openMongoStore(database)
}

/** Old and young messages, put into the store of a stopped server. */
async function fill (server: Server, conv: string): Promise<void> {
  const store = await storeOf(server)
  await store.commit(Array.from({ length: old }, (_, i) => message(conv, 'alice', { id: `${conv}-old-${i}`, ts: 1000 + i })))
  await store.commit(Array.from({ length: young }, (_, i) => message(conv, 'alice', { id: `${conv}-young-${i}`, ts: Date.now() })))
  await store.close()
}

/** A server that was started and stopped, so that its store is there. */
async function stopped (t: Test, config: Record<string, unknown> = {}): Promise<{ server: Server, purge (...args: string[]): ReturnType<typeof cli> }> {
  const server = await startServer(t, { config })
  await server.stop()
  return { server, purge: (...args) => cli(['purge', '--config', server.configPath, '--data', server.data, ...args], { timeoutMs: 120_000 }) }
}

await t.test('the server is stopped: the retention of the command', async t => {
  const { server, purge } = await stopped(t)
  await fill(server, 'd:alice:bob')
  const none = await purge()
  t.match(none, { code: 0, stdout: /^nothing was removed: messages\.retentionSeconds is 0, messages are kept for ever\n$/ })
  t.same(await purge('--json'), { code: 0, stdout: '{"messages":0,"retentionSeconds":0}\n', stderr: '' })
  const done = await purge('--set', `messages.retentionSeconds=${retentionSeconds}`)
  t.equal(done.code, 0, done.stderr)
  t.equal(done.stdout, `removed ${old} messages older than ${retentionSeconds} s\n`)
  const store = await storeOf(server)
  t.equal((await store.messages('d:alice:bob', { limit: 100 })).length, young, 'the young ones stay')
  await store.close()
})

await t.test('the server runs: its own retention, or the one of the command line', async t => {
  const { server, purge } = await stopped(t)
  await fill(server, 'd:alice:bob')
  await server.restart()
  t.match(await purge(), { code: 0, stdout: /^nothing was removed: messages\.retentionSeconds of the server is 0, messages are kept for ever\n$/ })
  const done = await purge('--set', `messages.retentionSeconds=${retentionSeconds}`)
  t.equal(done.code, 0, done.stderr)
  t.equal(done.stdout, `removed ${old} messages older than ${retentionSeconds} s\n`)
  t.same(JSON.parse((await purge('--json', '--set', `messages.retentionSeconds=${retentionSeconds}`)).stdout), { messages: 0, retentionSeconds }, 'nothing old is left')
})

await t.test('the server runs, and the file of the command says something else: refused, and nothing is removed', async t => {
  const { server } = await stopped(t)
  await fill(server, 'd:alice:bob')
  await server.restart()
  const folder = dirname(server.configPath)
  writeFileSync(join(folder, 'other.yaml'), `messages:\n  retentionSeconds: ${retentionSeconds}\n`)
  const refused = await cli(['purge', '--config', 'other.yaml', '--data', server.data], { cwd: folder })
  t.equal(refused.code, 2)
  t.equal(refused.stdout, '')
  t.match(refused.stderr, new RegExp(`other\\.yaml:2:3: messages\\.retentionSeconds is ${retentionSeconds}, but the server on .* runs with 0; nothing was removed: .*--set messages\\.retentionSeconds=${retentionSeconds}`))
  const again = await cli(['purge', '--data', server.data, '--json'], { cwd: server.data, env: { SABETHES_MESSAGES__RETENTION_SECONDS: '60' } })
  t.match(again, { code: 2, stderr: /SABETHES_MESSAGES__RETENTION_SECONDS/ })
  await server.stop()
  const store = await storeOf(server)
  t.equal((await store.messages('d:alice:bob', { limit: 2000 })).length > young, true, 'all is there')
  await store.close()
})

await t.test("the server runs with a retention: it says which, also when the command's own configuration has none", async t => {
  const { server } = await stopped(t, { messages: { retentionSeconds } })
  await server.restart()
  const done = await cli(['purge', '--data', server.data], { cwd: server.data })
  t.match(done, { code: 0, stdout: `removed 0 messages older than ${retentionSeconds} s\n`, stderr: '' })
  t.match(await cli(['purge', '--data', server.data, '--set', 'messages.retentionSeconds=0'], { cwd: server.data }),
    { code: 0, stdout: /^nothing was removed: messages\.retentionSeconds is 0/ })
})
