/**
 * How many files somebody reads who follows a message from alice's PUBLISH to bob's socket: those that are on the stack wherever it changes hands
 * (parsed, queued, written to the store, written to a connection, handed to the kernel). What a step only asks and comes back from is not counted.
 */
import { readFileSync } from 'node:fs'
import { Socket } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { defaultConfig } from '../../broker/config/schema.ts'
import { CommitQueue } from '../../broker/engine/commit/commit-queue.ts'
import { Output } from '../../broker/gateway/connection/output.ts'
import { Tick } from '../../broker/gateway/tick.ts'
import { startServer } from '../../broker/server.ts'
import { Batch } from '../../broker/store/level/batch.ts'
import { packageRoot } from '../support/package-root.ts'
import { RawClient } from '../support/raw-client.ts'

const mostFiles = 20

/** Where a message changes hands. */
const hands: ReadonlyArray<[{ prototype: object }, string]> = [[Tick, 'submit'], [CommitQueue, 'push'], [Batch, 'write'], [Output, 'reserve'], [Socket, 'write']]

/** Has `see` told the stack of each call of these methods. */
function watch (see: (stack: string) => void): void {
  for (const [{ prototype }, name] of hands) {
    const methods = prototype as Record<string, (...args: unknown[]) => unknown>
    const method = methods[name]
    if (method === undefined) throw new Error(`no method ${name}`)
    methods[name] = function (...args) {
      const before = Error.stackTraceLimit
      Error.stackTraceLimit = 50
      see(new Error(name).stack ?? '')
      Error.stackTraceLimit = before
      return method.apply(this, args)
    }
  }
}

await t.test('from PUBLISH to the socket of the receiver', async t => {
  const config = defaultConfig()
  config.store.path = join(t.testdir(), 'data')
  config.mqtt.tcp.port = config.http.port = 0
  config.log.level = 'error'
  const server = await startServer(config)
  t.teardown(() => server.close())
  const { port } = server.addresses.mqtt
  const { client: bob } = await RawClient.connect(t, port, { user: 'bob', clientId: 'phone', acknowledge: false })
  await bob.subscribe('im/u/bob/inbox')
  const { client: alice } = await RawClient.connect(t, port, { user: 'alice', clientId: 'phone' })
  const send = async (text: string): Promise<void> => { await Promise.all([bob.next(), alice.publish('im/to/u/bob', text)]) }
  // What the first one finds out is in memory for those that follow.
  await send('first')
  let stacks: string[] = []
  watch(stack => { stacks.push(stack) })
  await send('second')
  const seen = stacks
  stacks = []
  t.ok(seen.length >= hands.length, `${seen.length} stacks`)
  const files = new Set(seen.flatMap(stack => [...stack.matchAll(/\/(broker\/[a-z0-9/-]+)\.[jt]s:/g)].map(([, file = '']) => `${file}.ts`)))
  t.ok(files.size <= mostFiles, `${files.size} files: ${[...files].join(', ')}`)
  t.ok(files.size > mostFiles / 2, 'the stacks have files')
  const page = readFileSync(new URL('docs/architecture.md', packageRoot), 'utf8')
  for (const file of files) t.ok(page.includes(`\`${file}\``), `${file} is on the page of the architecture`)
})
