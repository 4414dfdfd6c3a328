/** The newest log file cut or flipped [fault 5]: the server starts, or refuses loudly; it never skips earlier records in silence. */
import { copyFileSync, cpSync, openSync, readSync, closeSync, readdirSync, rmSync, statSync, truncateSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { wide } from '../support/configs.ts'
import { device } from '../support/mqtt.ts'
import { RawClient } from '../support/raw-client.ts'
import { startServer } from '../support/server.ts'

const total = 60

function newestLog (data: string): string {
  const logs = (readdirSync(data, { recursive: true }) as string[]).filter(name => /(^|\/)\d+\.log$/.test(name))
  const path = logs.map(name => join(data, name)).sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs)[0]
  if (path === undefined) throw new Error(`no log file in ${data}`)
  return path
}

function flip (path: string, at: number): void {
  const file = openSync(path, 'r+')
  const byte = Buffer.alloc(1)
  readSync(file, byte, 0, 1, at)
  writeSync(file, Buffer.from([(byte[0] as number) ^ 0xff]), 0, 1, at)
  closeSync(file)
}

await t.test('cut and flipped', async t => {
  const server = await startServer(t, { config: wide })
  const { client } = await RawClient.connect(t, server.mqttPort, { user: 'alice', clientId: 'pen' })
  for (let i = 1; i <= total; i++) await client.publish('im/to/u/bob', `message ${i} ${'x'.repeat(200)}`)
  await server.kill9()
  const saved = join(server.data, '..', 'saved')
  cpSync(server.data, saved, { recursive: true, filter: path => !path.endsWith('.sock') })
  copyFileSync(newestLog(server.data), join(saved, '..', 'log'))

  const damage: Array<[string, (path: string, bytes: number) => void, /** messages that may be missing when it starts */ number]> = [
    ['the last byte is cut', (path, bytes) => { truncateSync(path, bytes - 1) }, 1],
    ['the last 50 bytes are cut', (path, bytes) => { truncateSync(path, bytes - 50) }, 1],
    ['the last byte is flipped', (path, bytes) => { flip(path, bytes - 1) }, 1],
    ['a byte in the middle is flipped', (path, bytes) => { flip(path, Math.floor(bytes / 2)) }, 0],
    ['a byte of the first record is flipped', path => { flip(path, 20) }, 0]
  ]
  for (const [name, hurt, mayMiss] of damage) {
    rmSync(server.data, { recursive: true })
    cpSync(saved, server.data, { recursive: true })
    const path = newestLog(server.data)
    hurt(path, statSync(path).size)
    const before = server.logs().length
    const started = await server.restart().then(() => true, () => false)
    const said = server.logs().slice(before)
    if (!started) {
      t.match(said, /corrupt|damage|torn|checksum/i, `${name}: refused, and says why`)
      continue
    }
    const reader = await device(t, server.url, 'bob')
    const seqs: number[] = []
    for (;;) {
      const { messages } = await reader.result<{ messages: Array<{ seq: number }> }>('messages.history', { conv: 'd:alice:bob', after: seqs.at(-1) ?? 0, limit: 100 })
      if (messages.length === 0) break
      seqs.push(...messages.map(one => one.seq))
    }
    await reader.end()
    t.same(seqs, seqs.map((_, i) => i + 1), `${name}: no record before the last is skipped`)
    t.ok(total - seqs.length <= mayMiss, `${name}: ${seqs.length} of ${total} are there`)
    const { client: writer } = await RawClient.connect(t, server.mqttPort, { user: 'alice', clientId: 'pen' })
    await writer.publish('im/to/u/bob', 'after the damage')
    await server.kill9()
  }
})
