/** QoS 2 on ordinary topics over `kill -9` of the server at any moment of its exchanges: each message once, to a session that is there and to one that is away. */
import t from 'tap'
import type { Test } from 'tap'
import { RawClient } from '../support/raw-client.ts'
import { startServer } from '../support/server.ts'

const topic = 'once/x'
const rounds = 8
const each = 12

/** A kept session on a server that dies: it comes back, and goes on with its exchanges as MQTT asks. */
class Lasting {
  client!: RawClient
  readonly #t: Test
  readonly #port: number
  readonly #id: string

  constructor (t: Test, port: number, id: string) {
    this.#t = t
    this.#port = port
    this.#id = id
  }

  /** Connects; resolves with whether the session was there. */
  async connect (): Promise<boolean> {
    const { client, connack } = await RawClient.connect(this.#t, this.#port, { clientId: this.#id, user: 'once', clean: false })
    this.client = client
    return connack.sessionPresent
  }
}

/** Publishes at QoS 2 and takes each exchange up again where it was. */
class Sender extends Lasting {
  /** By packet id: sent, or its PUBREC is here. */
  readonly open = new Map<number, { text: string, received: boolean }>()
  /** Those whose PUBREC came: the server answers for them. */
  readonly promised = new Set<string>()
  #last = 0

  publish (text: string): void {
    const messageId = this.#last = this.#last % 60_000 + 1
    this.open.set(messageId, { text, received: false })
    this.#send(messageId, false)
  }

  #send (messageId: number, dup: boolean): void {
    const { text, received } = this.open.get(messageId) as { text: string, received: boolean }
    if (received) this.client.send({ cmd: 'pubrel', messageId })
    else this.client.send({ cmd: 'publish', topic, payload: text, qos: 2, dup, retain: false, messageId })
  }

  again (): void { for (const messageId of this.open.keys()) this.#send(messageId, true) }

  /** Answers until nothing is open, or the connection ends; `after` is told of each packet. */
  async run (after: () => void): Promise<void> {
    while (this.open.size > 0) {
      const packet = await this.client.packets.take(one => one.cmd === 'pubrec' || one.cmd === 'pubcomp')
      const messageId = packet.messageId as number
      const one = this.open.get(messageId)
      if (packet.cmd === 'pubcomp') this.open.delete(messageId)
      else if (one !== undefined) {
        one.received = true
        this.promised.add(one.text)
        this.#send(messageId, false)
      }
      after()
    }
  }
}

/** Takes messages at QoS 2: by packet id, until PUBREL. */
class Receiver extends Lasting {
  readonly got: string[] = []
  readonly #unreleased = new Set<number>()

  async run (done: () => boolean, after: () => void): Promise<void> {
    while (!done()) {
      const packet = await this.client.packets.take(one => one.cmd === 'publish' || one.cmd === 'pubrel')
      const messageId = packet.messageId as number
      if (packet.cmd === 'publish') {
        // [MQTT-4.3.3-2]: until PUBREL the same packet id is the same message.
        if (!this.#unreleased.has(messageId)) this.got.push(packet.payload.toString())
        this.#unreleased.add(messageId)
        this.client.send({ cmd: 'pubrec', messageId })
      } else {
        this.#unreleased.delete(messageId)
        this.client.send({ cmd: 'pubcomp', messageId })
      }
      after()
    }
  }
}

await t.test('every message once, in order', async t => {
  const server = await startServer(t, { config: { mqtt: { openTopics: ['once/#'] } } })
  const sender = new Sender(t, server.mqttPort, 'sender')
  const live = new Receiver(t, server.mqttPort, 'live')
  const away = new Receiver(t, server.mqttPort, 'away')
  for (const one of [sender, live, away]) await one.connect()
  for (const one of [live, away]) await one.client.subscribe(topic, 2)
  await away.client.disconnect()
  const texts: string[] = []
  for (let round = 0; round < rounds; round++) {
    // A little later in the exchanges each time.
    let left = 3 + round * 7
    let die = (): void => {}
    const dead = new Promise<void>(resolve => { die = resolve })
    const count = (): void => { if (--left === 0) die() }
    const running = [sender.run(count), live.run(() => false, count)].map(run => run.catch((error: Error) => { t.match(error.message, /the connection is closed/) }))
    for (let i = 0; i < each; i++) {
      texts.push(`${round}-${i}`)
      sender.publish(`${round}-${i}`)
    }
    await dead
    await server.kill9()
    await Promise.all(running)
    await server.restart()
    t.ok(await sender.connect(), 'the sender\'s session')
    t.ok(await live.connect(), 'the receiver\'s session')
    sender.again()
  }
  await Promise.all([sender.run(() => {}), live.run(() => live.got.length >= texts.length, () => {})])
  t.ok(await away.connect())
  await away.run(() => away.got.length >= texts.length, () => {})
  for (const [name, { got, client }] of [['live', live], ['away', away]] as const) {
    await client.ping()
    t.strictSame(client.packets.waiting.filter(packet => packet.cmd === 'publish' && !packet.dup), [], `${name}: nothing more`)
    t.strictSame([...got].sort(), [...texts].sort(), `${name}: each once`)
    t.strictSame(got, texts, `${name}: in the order of the sender [MQTT-4.6.0-6]`)
  }
  t.strictSame(sender.promised.size, texts.length)
})
