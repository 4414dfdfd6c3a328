/** Sabethes with the limits that it is shipped with, and a store with what attackers can make of it in a day. */
import { randomBytes } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { openLevelStore } from '../../broker/store/level/store.ts'
import type { NewMessage } from '../../broker/store/store.ts'
import { hub, reader, writer } from '../hostile/attacks.ts'
import type { Peer } from './peer.ts'
import { BrokerProcess } from './process.ts'
import { sabethes, startShipped } from './sabethes.ts'

const conversations = 20_000
const largeMessages = 40
const largeBytes = 60_000
const batchMessages = 1000

let lastNumber = 0

function message (from: string, to: string, text: string): NewMessage {
  const [a, b] = from < to ? [from, to] : [to, from]
  const id = (++lastNumber).toString(36).padStart(20, '0')
  const ts = Date.now()
  const content = `"id":"${id}","from":"${from}","to":"u/${to}","ts":${ts},"type":"text","body":"${text}"`
  return { op: 'message', conv: `d:${a}:${b}`, from, id, ts, counts: true, marksSender: true, content }
}

async function fill (path: string): Promise<void> {
  mkdirSync(path, { recursive: true })
  const store = await openLevelStore({ path })
  for (let from = 0; from < conversations; from += batchMessages) {
    await store.commit(Array.from({ length: batchMessages }, (_, i) => message(`friend-${from + i}`, hub, 'hello')))
  }
  await store.commit(Array.from({ length: largeMessages }, () => message(writer, reader, randomBytes(largeBytes / 2).toString('hex'))))
  await store.close()
}

export const sabethesHostile: Peer = {
  ...sabethes,
  name: 'sabethes-shipped',
  async start ({ cpu }) {
    const folder = BrokerProcess.folder()
    const data = join(folder, 'data')
    await fill(data)
    return await startShipped(folder, data, cpu)
  }
}
