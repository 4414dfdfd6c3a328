/** A rolling upgrade: servers of the commit before this one are replaced one after the other, and talk across meanwhile. */
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import t from 'tap'
import { earlier } from '../../bench/peers/against.ts'
import { startCluster } from '../support/cluster.ts'
import { device } from '../support/mqtt.ts'
import type { Device } from '../support/mqtt.ts'
import { packageRoot } from '../support/package-root.ts'
import { mainPath } from '../support/server.ts'

t.setTimeout(600_000)

/** The program of the commit before; undefined in a clone that has none. */
async function programBefore (): Promise<string | undefined> {
  try {
    execFileSync('git', ['rev-parse', '--verify', '--quiet', 'HEAD~1^{commit}'], { cwd: packageRoot.pathname })
  } catch (error) {
    if (!(error instanceof Error)) throw error
    return undefined
  }
  return join((await earlier('HEAD~1')).folder, 'dist/broker/main.js')
}

const before = await programBefore()
if (before === undefined) t.pass('a clone without the commit before', { skip: 'NOT TESTED HERE' })
else {
  await t.test('from the commit before to this one', async t => {
    const programs = [before, before]
    const cluster = await startCluster(t, 0)
    if (cluster === undefined) return
    for (const i of programs.keys()) await cluster.join({ main: () => programs[i] ?? mainPath })
    const [one, two] = cluster.servers
    if (one === undefined || two === undefined) return
    let count = 0
    const talk = async (what: string): Promise<void> => {
      const alice = await device(t, one.url, 'alice', { clientId: 'phone', clean: false })
      const bob = await device(t, two.url, 'bob', { clientId: 'phone', clean: false })
      const take = async (to: Device, body: string): Promise<void> => { await to.mail.take(({ text }) => text.includes(`"${body}"`), 15_000, body) }
      for (const one of [alice, bob]) await one.subscribe(`im/u/${one.user}/inbox`)
      for (let i = 0; i < 5; i++) {
        const body = `${what} ${++count}`
        t.same(await alice.publish('im/to/u/bob', body), {}, body)
        await take(bob, body)
        t.same(await bob.publish('im/to/u/alice', `re: ${body}`), {}, body)
        await take(alice, `re: ${body}`)
      }
      await alice.end()
      await bob.end()
    }
    await talk('both old')
    for (const [i, server] of cluster.servers.entries()) {
      await server.stop()
      programs[i] = mainPath
      await server.restart()
      await talk(i === 0 ? 'old and new' : 'both new')
    }
    const reader = await device(t, one.url, 'alice', { clientId: 'reader' })
    await reader.subscribe('im/u/alice/rpc/+')
    const { messages } = await reader.result<{ messages: Array<{ seq: number }> }>('messages.history', { conv: 'd:alice:bob', after: 0, limit: 100 })
    t.same(messages.map(({ seq }) => seq), Array.from({ length: 2 * count }, (_, i) => i + 1), 'numbers without a gap')
  })
}
