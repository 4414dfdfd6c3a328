/** What the disk does to a running server: errors of fsync, for a while and for good. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import { until } from '../support/mailbox.ts'
import { Device, device } from '../support/mqtt.ts'
import { history } from '../support/places.ts'
import { startServer } from '../support/server.ts'
import type { Server } from '../support/server.ts'
import { requireTool } from '../support/tools.ts'

const conv = 'd:alice:bob'

async function page (server: Server, path: string): Promise<number> {
  return (await fetch(`http://127.0.0.1:${server.httpPort}${path}`)).status
}

/** Publishes until one is not acknowledged; resolves to the bodies that were. */
async function publishUntilFailure (t: Test, server: Server, name: string, most = Infinity): Promise<{ acknowledged: string[], tried: string[] }> {
  const acknowledged: string[] = []
  const tried: string[] = []
  const pen = new Device(server.url, { user: 'alice', clientId: name })
  t.teardown(async () => { await pen.drop() })
  pen.client.on('error', () => { /* `connected` tells of it */ })
  try {
    await pen.connected()
  } catch (error) {
    // The store may not be readable at the moment.
    if (!/closed|unavailable/i.test((error as Error).message)) throw error
    return { acknowledged, tried }
  }
  const closed = new Promise<undefined>(resolve => { pen.client.once('close', () => { resolve(undefined) }) })
  for (let i = 0; i < most; i++) {
    const body = `${name} ${i}`
    tried.push(body)
    const done = await Promise.race([pen.publish('im/to/u/bob', { cid: body, body }), closed])
    if (done === undefined || done.error !== undefined) break
    acknowledged.push(body)
  }
  await pen.drop()
  return { acknowledged, tried }
}

async function bodies (reader: Device): Promise<string[]> { return (await history(reader, conv)).map(({ body }) => body) }

await t.test('fsync fails five times, then works again: nothing acknowledged lost, nothing refused there, no restart', async t => {
  if (!requireTool(t, 'strace')) return
  const server = await startServer(t, {
    config: { store: { driver: 'level' } },
    // strace counts calls by thread.
    env: { UV_THREADPOOL_SIZE: '1' },
    wrapper: ['strace', '-f', '-o', '/dev/null', '-e', 'trace=fdatasync', '-e', 'inject=fdatasync:error=EIO:when=30..34', '--']
  })
  const { acknowledged, tried } = await publishUntilFailure(t, server, 'first')
  t.ok(acknowledged.length > 0 && acknowledged.length < tried.length, `${acknowledged.length} acknowledged of ${tried.length}`)
  let again: string[] = []
  await until(async () => (again = (await publishUntilFailure(t, server, 'second', 1)).acknowledged).length > 0, 20_000, 'an acknowledgement')
  const reader = await device(t, server.url, 'alice', { clientId: 'reader' })
  t.same(await bodies(reader), [...acknowledged, ...again])
  await reader.end()
  await server.kill9()
  await server.restart()
  t.same(await bodies(await device(t, server.url, 'alice', { clientId: 'third' })), [...acknowledged, ...again])
})

await t.test('fsync fails for good: the process ends with 74 and says so; what was acknowledged is there when it works again', async t => {
  if (!requireTool(t, 'strace')) return
  const data = mkdtempSync(join(tmpdir(), 'sabethes-'))
  t.teardown(() => { rmSync(data, { recursive: true }) })
  const server = await startServer(t, {
    data,
    config: { store: { driver: 'level' } },
    // strace counts calls by thread.
    env: { UV_THREADPOOL_SIZE: '1' },
    wrapper: ['strace', '-f', '-o', '/dev/null', '-e', 'trace=fdatasync', '-e', 'inject=fdatasync:error=EIO:when=30+', '--']
  })
  const { acknowledged } = await publishUntilFailure(t, server, 'first')
  await until(async () => !server.running() || await page(server, '/readyz') === 503, 10_000, 'readyz')
  await until(() => !server.running(), 60_000, 'the end of the process')
  t.equal(server.exitCode(), 74)
  t.match(server.logs(), /"level":60.*failed for good/)
  const again = await startServer(t, { config: { store: { driver: 'level' } }, data })
  t.same(await bodies(await device(t, again.url, 'alice', { clientId: 'second' })), acknowledged)
})
