/** What the tests of single clauses share: clients of one version on one server, under names that nobody else has. */
import { randomUUID } from 'node:crypto'
import type { IPublishPacket, ISubackPacket, Packet } from 'mqtt-packet'
import type { Test } from 'tap'
import { RawClient } from './raw-client.ts'
import type { RawConnect, Version } from './raw-client.ts'

let number = 0
const run = randomUUID().slice(0, 8)
export const versions: readonly Version[] = [4, 5]

/** A name that is used once. */
export function fresh (name: string): string { return `clause-${run}-${name}-${++number}` }

export class Clients {
  readonly version: Version
  readonly #port: number
  constructor (port: number, version: Version) {
    this.#port = port
    this.version = version
  }

  /** A session that ends with its connection. */
  async connect (t: Test, options: RawConnect = {}): Promise<RawClient> { return (await this.#open(t, options)).client }

  /** A session that is kept; resolves with whether it was there. */
  async keep (t: Test, clientId: string, options: RawConnect = {}): Promise<{ client: RawClient, present: boolean }> {
    return await this.#open(t, { clientId, clean: false, ...options, properties: { sessionExpiryInterval: 1000, ...options.properties } })
  }

  async #open (t: Test, options: RawConnect): Promise<{ client: RawClient, present: boolean }> {
    const { client, connack } = await RawClient.connect(t, this.#port, { version: this.version, user: 'clauses', clientId: fresh('c'), ...options })
    t.equal(connack.reasonCode ?? connack.returnCode, 0, 'connected')
    return { client, present: connack.sessionPresent }
  }
}

export const payloads = (packets: IPublishPacket[]): string[] => packets.map(packet => packet.payload.toString())

/** Sends one packet and resolves with its answer. */
export async function ask<Cmd extends Packet['cmd']> (client: RawClient, packet: Packet, cmd: Cmd): Promise<Extract<Packet, { cmd: Cmd }>> {
  client.send(packet)
  return await client.packets.take(answer => answer.cmd === cmd, 15_000, cmd) as Extract<Packet, { cmd: Cmd }>
}

/** Subscribes to each filter at its own QoS; the codes of the SUBACK. */
export async function subscribeEach (client: RawClient, subscriptions: Array<{ topic: string, qos: 0 | 1 | 2 }>): Promise<number[]> {
  const messageId = client.nextId()
  const suback: ISubackPacket = await ask(client, { cmd: 'subscribe', messageId, subscriptions }, 'suback')
  return suback.granted as number[]
}
