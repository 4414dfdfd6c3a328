/** A disk of 48 MB that messages fill: nothing acknowledged is lost, and with room it goes on by itself. */
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import { writeAddressFile } from '../../broker/http/address-file.ts'
import { RawClient } from '../support/raw-client.ts'
import { history } from '../support/places.ts'
import { device } from '../support/mqtt.ts'
import { startServer } from '../support/server.ts'
import type { Server } from '../support/server.ts'
import { absent } from '../support/tools.ts'

const conv = 'd:alice:bob'
const rounds = 5
const ballastBytes = 8 * 1024 * 1024
/** Milliseconds from room to the first acknowledgement. */
const limitMs = 5000

/** A tmpfs of 48 MB; `undefined` (and said aloud) where it cannot be mounted. */
function mount (t: Test): string | undefined {
  const path = mkdtempSync(join(tmpdir(), 'sabethes-disk-'))
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=48m', 'tmpfs', path], { stdio: 'pipe' })
  } catch (error) {
    rmSync(path, { recursive: true })
    absent(t, `a tmpfs (it needs root: ${(error as Error).message})`)
    return undefined
  }
  t.teardown(() => {
    execFileSync('umount', [path])
    rmSync(path, { recursive: true })
  })
  return path
}

let count = 0
/** Publishes over one connection, a few at a time, until it ends or `most` are acknowledged; adds to `acknowledged`. */
async function publish (t: Test, server: Server, acknowledged: Set<string>, bytes: number, most = Infinity): Promise<void> {
  const client = await RawClient.open(t, server.mqttPort)
  try {
    await client.hello({ user: 'alice', clientId: `pen${++count}` })
    const one = async (): Promise<void> => {
      for (let i = 0; i < most; i++) {
        const cid = `c${++count}`
        // Such that it cannot be compressed.
        await client.publish('im/to/u/bob', JSON.stringify({ cid, body: `${cid} ${randomBytes(bytes / 2).toString('hex')}` }))
        acknowledged.add(cid)
      }
    }
    await Promise.all(Array.from({ length: most === Infinity ? 8 : 1 }, one))
  } catch (error) {
    if (!(error instanceof Error) || !/closed|not within/.test(error.message)) throw error
  } finally {
    client.cut()
  }
}

async function isReady (server: Server): Promise<boolean> {
  return (await fetch(`http://127.0.0.1:${server.httpPort}/readyz`)).status === 200
}

await t.test('a full disk takes no file that names the ports: nothing of it is left, and nothing fails', async t => {
  const disk = mount(t)
  if (disk === undefined) return
  const address = { pid: process.pid, prefix: 'im', wsPath: '/mqtt', mqtt: { host: '127.0.0.1', port: 1883 }, http: { host: '127.0.0.1', port: 8080 } }
  const full: string[] = []
  const note = (error: Error): void => { full.push((error as NodeJS.ErrnoException).code ?? '') }
  writeAddressFile(disk, { ...address, pid: 1 }, note)
  t.same(full, [])
  t.throws(() => writeFileSync(join(disk, 'ballast'), Buffer.alloc(64 * 1024 * 1024)), { code: 'ENOSPC' })
  const remove = writeAddressFile(disk, address, note)
  t.same(full, ['ENOSPC'])
  t.same(readdirSync(disk), ['ballast'], 'nor what an earlier server left, whose ports are not this one\'s')
  remove()
})

for (const bytes of [10_000, 100_000]) {
  await t.test(`48 MB of messages of ${bytes} bytes`, { timeout: 240_000 }, async t => {
    const disk = mount(t)
    if (disk === undefined) return
    const data = join(disk, 'data')
    mkdirSync(data)
    const server = await startServer(t, { data, config: { store: { driver: 'level' }, messages: { maxBytes: 250_000 }, plugins: { 'rate-limit': { enabled: false } } } })
    const acknowledged = new Set<string>()
    // All written while there is room: later the store may hold twice what it compacts at that moment.
    const ballast = (round: number): string => join(disk, `ballast${round}`)
    for (let round = 0; round < rounds; round++) writeFileSync(ballast(round), Buffer.alloc(ballastBytes >> round))
    for (let round = 0; round < rounds; round++) {
      do await publish(t, server, acknowledged, bytes); while (await isReady(server))
      const before = acknowledged.size
      if (round === 2) {
        await server.kill9()
        // A start needs room; without it the server ends and says so, and what watches over it starts it again.
        rmSync(ballast(round))
        const began = performance.now()
        await server.restart()
        t.comment(`round ${round}: killed while full with ${before} acknowledged; started in ${Math.round(performance.now() - began)} ms`)
      } else {
        rmSync(ballast(round))
      }
      const began = performance.now()
      while (acknowledged.size === before) {
        await publish(t, server, acknowledged, 100, 1)
        if (performance.now() - began > 4 * limitMs) throw new Error('not taken again')
      }
      const tookMs = performance.now() - began
      t.ok(tookMs < limitMs, `round ${round}: ${before} acknowledged, full; taken again ${Math.round(tookMs)} ms after there was room`)
    }
    const reader = await device(t, server.url, 'bob', { clientId: 'reader' })
    const stored = new Set((await history(reader, conv)).map(({ cid }) => cid))
    t.same([...acknowledged].filter(cid => !stored.has(cid)), [], `${acknowledged.size} acknowledged, ${stored.size} stored`)
    await reader.end()
  })
}
