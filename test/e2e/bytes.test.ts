/** Every byte of every delivery, while output memory is taken and given back by many connections at once. */
import t from 'tap'
import type { Packet } from 'mqtt-packet'
import type { Test } from 'tap'
import { wide } from '../support/configs.ts'
import { Mailbox } from '../support/mailbox.ts'
import { RawClient } from '../support/raw-client.ts'
import { startServer } from '../support/server.ts'

const readers = 8
const backlog = 3000
const users = 150
const rounds = 60

/** What `from` sends as its message `i`: as long and as mixed as the number says, so that no two look alike. */
function bodyOf (from: string, i: number): string {
  let seed = i * 2654435761 + from.length * 40503 + (from.codePointAt(from.length - 1) ?? 0)
  const words: string[] = []
  for (let left = 20 + i * 37 % 900; left > 0; left -= 8) {
    seed = Math.imul(seed ^ (seed >>> 15), 0x2c1b3c6d) >>> 0
    words.push(seed.toString(36).padStart(7, '0'))
  }
  return `${from} ${i} ${words.join(' ')}`
}

interface Reader { client: RawClient, all: Promise<void>, wrong: string[] }

/** A connected user whose inbox (every second one's in the compact form) is compared with what was sent; `all` resolves when `expected` messages from others have come. */
async function reader (t: Test, port: number, user: string, expected: number, compact: boolean): Promise<Reader> {
  const { client } = await RawClient.connect(t, port, { user, clientId: 'phone', clean: false })
  const done = new Mailbox<true>(`the messages of ${user}`)
  const wrong: string[] = []
  const put = client.packets.put.bind(client.packets)
  let came = 0
  client.packets.put = (packet: Packet): void => {
    if (packet.cmd !== 'publish') return put(packet)
    const text = packet.payload.toString()
    const [from = '', i = ''] = (compact ? /^\[\d+,"\w+","[^"]+","(\S+ \d+)/ : /"body":"(\S+ \d+)/).exec(text)?.[1]?.split(' ') ?? []
    const body = JSON.stringify(bodyOf(from, Number(i)))
    if (packet.topic !== `im/u/${user}/inbox` || !(compact ? text.replace(/,\{"ts":\d+\}\]$/, ']').endsWith(`",${body}]`) : text.endsWith(`"body":${body}}`))) {
      wrong.push(`${packet.topic} ${text.slice(0, 200)}`)
    }
    if (from !== user && ++came === expected) done.put(true)
  }
  // A packet that cannot be parsed closes the connection: that is as wrong as any.
  const ended = client.closed.then(() => { if (came < expected) wrong.push('the connection ended') })
  const all = Promise.race([done.take(undefined, 120_000).then(() => {}), ended])
  return { client, wrong, all }
}

/** `env` for a server whose Node shares slabs of this size among small buffers: 8,192 up to Node 22, 65,536 in Node 24. */
function slabs (bytes: number): Record<string, string> {
  return { NODE_OPTIONS: `--import=data:text/javascript,Buffer.poolSize=${bytes};Buffer.allocUnsafe(4000);Buffer.allocUnsafe(4000);Buffer.allocUnsafe(4000)` }
}

for (const bytes of [8_192, 16_384, 65_536]) {
  await t.test(`${readers} backlogs of ${backlog} are read while ${users} users write, with slabs of ${bytes} bytes`, async t => {
    const server = await startServer(t, { config: wide, env: slabs(bytes) })
    const { client: writer } = await RawClient.connect(t, server.mqttPort, { user: 'writer' })
    for (let r = 0; r < readers; r++) {
      for (let at = 0; at < backlog; at += 500) {
        const size = Math.min(500, backlog - at)
        await Promise.all(Array.from({ length: size }, async (_, i) => { await writer.publish(`im/to/u/reader${r}`, bodyOf('writer', at + i)) }))
      }
    }
    const chatters = await Promise.all(Array.from({ length: users }, async (_, u) => await reader(t, server.mqttPort, `user${u}`, rounds, u % 2 === 1)))
    const subscribe = async ({ client }: Reader, user: string, compact: boolean): Promise<void> => { await client.subscribe([`im/u/${user}/inbox`, ...compact ? [`im/u/${user}/compact`] : []]) }
    await Promise.all(chatters.map(async (one, u) => { await subscribe(one, `user${u}`, u % 2 === 1) }))
    const late = await Promise.all(Array.from({ length: readers }, async (_, r) => await reader(t, server.mqttPort, `reader${r}`, backlog, r % 2 === 1)))
    const chatting = chatters.map(async ({ client }, u) => {
      for (let i = 0; i < rounds; i++) await client.publish(`im/to/u/user${(u + 1) % users}`, bodyOf(`user${u}`, i))
    })
    await Promise.all(late.map(async (one, r) => { await subscribe(one, `reader${r}`, r % 2 === 1) }))
    await Promise.all(chatting)
    await Promise.all([...chatters, ...late].map(async one => { await one.all }))
    const wrong = [...chatters, ...late].flatMap(one => one.wrong)
    t.equal(wrong.length, 0, `${users * rounds + readers * backlog} deliveries, each as it was sent`)
    for (const one of wrong.slice(0, 3)) t.comment(one)
  })
}
