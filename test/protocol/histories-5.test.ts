/**
 * Histories of MQTT 5 clients against a model: aliases, identifiers, shared groups, Receive Maximum and Maximum Packet Size, cuts and sizes as they come.
 * `SABETHES_HISTORIES`: how many; `SABETHES_SEED`: the first one's seed; `SABETHES_SHRINK=1`: makes one that fails as short as it can.
 */
import { randomUUID } from 'node:crypto'
import t from 'tap'
import { described } from '../support/histories/actions.ts'
import type { History } from '../support/histories/actions.ts'
import { generate } from '../support/histories/generator.ts'
import { play } from '../support/histories/play.ts'
import { shrunk } from '../support/histories/shrink.ts'
import { startServer } from '../support/server.ts'

const count = Number(process.env.SABETHES_HISTORIES ?? 10)
const first = Number(process.env.SABETHES_SEED ?? 1)
/** Played side by side. */
const lanes = 24
/** Times that a shorter one is played: not each of them fails each time. */
const tries = 4

const server = await startServer(t, {
  config: {
    mqtt: { openTopics: ['h/#'], limits: { inflight: 12, takeoversPerSecond: 1000 } },
    messages: { receiptIntervalMs: 100 },
    log: { level: 'warn' }
  }
})
const run = randomUUID().slice(0, 6)

await t.test(`${count} histories from seed ${first}`, { timeout: 0 }, async t => {
  const began = performance.now()
  const failed: History[] = []
  let next = first
  const lane = async (): Promise<void> => {
    while (next < first + count) {
      const history = generate(next++)
      const { faults, log } = await play(server.mqttPort, run, history)
      if (faults.length === 0) continue
      failed.push(history)
      t.comment(`seed ${history.seed}:\n${described(history)}\n${log.join('\n')}`)
      t.fail(`seed ${history.seed}: ${faults.slice(0, 3).join('; ')}`)
    }
  }
  await Promise.all(Array.from({ length: lanes }, lane))
  t.comment(`${(count / (performance.now() - began) * 1000).toFixed(1)} histories a second`)
  t.equal(failed.length, 0, `seeds that failed: ${failed.map(({ seed }) => seed).join()}`)
  if (process.env.SABETHES_SHRINK === '1' && failed[0] !== undefined) await shorter(failed[0])
})

/** Plays shorter and shorter ones that fail, and shows the last. */
async function shorter (history: History): Promise<void> {
  const fails = async (tried: History): Promise<boolean> => {
    for (let i = 0; i < tries; i++) if ((await play(server.mqttPort, run, tried)).faults.length > 0) return true
    return false
  }
  const least = await shrunk(history, fails)
  for (let i = 0; i < tries; i++) {
    const { faults, log } = await play(server.mqttPort, run, least)
    if (faults.length === 0) continue
    t.comment(`shrunk:\n${described(least)}\n${log.join('\n')}\n${faults.join('\n')}`)
    return
  }
}
