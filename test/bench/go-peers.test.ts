/** The peers that Go builds: each takes a message of QoS 1 and passes it on, over TCP and over WebSocket. */
import { spawnSync } from 'node:child_process'
import { chmodSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import type { Test } from 'tap'
import { Connection } from '../../bench/connection.ts'
import { Publisher, Receiver, faults } from '../../bench/load.ts'
import { readOptions } from '../../bench/options.ts'
import { mochi } from '../../bench/peers/mochi.ts'
import { nats, natsLazy } from '../../bench/peers/nats.ts'
import type { Peer } from '../../bench/peers/peer.ts'
import { killAll } from '../../bench/peers/process.ts'
import { until } from '../../bench/scenarios/scenario.ts'
import { absent } from '../support/tools.ts'

const program = fileURLToPath(new URL('../../bench/main.js', import.meta.url))

// A test that fails half-way leaves no broker behind.
process.once('exit', killAll)

async function through (t: Test, peer: Peer, port: number, websocket: boolean): Promise<void> {
  const name = websocket ? 'w' : 't'
  const receiver = new Receiver(await Connection.open({ port, user: `b${name}`, websocket }))
  await receiver.connection.subscribe([peer.inbox(`b${name}`), ...peer.groups(['g1', 'g2'])])
  const publisher = new Publisher(await Connection.open({ port, user: `a${name}`, websocket }), {
    topics: [peer.toUser(`b${name}`)], stream: 0, body: 'text', payloadBytes: 100, window: 10
  })
  publisher.send(1)
  t.ok(await until(() => publisher.acked === 1 && receiver.received === 1, 10_000), `acknowledged and received${websocket ? ' over WebSocket' : ''}`)
  publisher.send(10)
  t.ok(await until(() => publisher.acked === 11 && receiver.received === 11, 10_000), 'a window of them')
  t.equal(faults([publisher], [receiver]), undefined)
  await Promise.all([publisher.connection.close(), receiver.connection.close()])
}

for (const peer of [nats, natsLazy, mochi]) {
  await t.test(peer.name, async t => {
    const why = peer.missing() ?? await peer.prepare?.()
    if (why !== undefined) { absent(t, `${peer.name}: ${why}`); return }
    const running = await peer.start({ cpu: undefined, databaseCpus: undefined, stored: 0 })
    t.teardown(() => running.stop())
    await through(t, peer, running.port, false)
    await through(t, peer, running.wsPort, true)
    t.notOk(running.process.ended)
  })
}

await t.test('what does not build is skipped aloud', async t => {
  const folder = t.testdir({ bin: { go: '#!/bin/sh\necho no module proxy here >&2\nexit 1\n' } })
  chmodSync(join(folder, 'bin/go'), 0o755)
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, 'startup', '--peers', 'mochi', '--rounds', '1'], {
    encoding: 'utf8',
    env: { ...process.env, PATH: `${folder}/bin:${process.env['PATH']}`, XDG_CACHE_HOME: join(folder, 'cache') }
  })
  t.equal(status, 0)
  t.match(stderr, /^\*\*\* SKIPPING MOCHI: it does not build here: .*no module proxy here/ms)
  t.match(stdout, /SKIPPED: mochi: it does not build here/)
  t.same(readdirSync(join(folder, 'cache/sabethes-bench')), [], 'neither half a program nor a lock is left')
})

await t.test('they are known, and run only when they are chosen', async t => {
  t.same(readOptions([]).peers, ['sabethes', 'mosquitto', 'aedes'])
  const { status, stderr } = spawnSync(process.execPath, [program, 'startup', '--peers', 'nobody'], { encoding: 'utf8' })
  t.equal(status, 2)
  t.match(stderr, 'mosquitto, aedes, nats, nats-lazy, mochi)')
})
