/** Users with kept sessions who come back to one message each. */
import { Connection } from '../connection.ts'
import { Publisher, Receiver, faults } from '../load.ts'
import { Latencies } from '../meter.ts'
import type { Peer } from '../peers/peer.ts'
import { publishAll } from './backlog.ts'
import type { Settings } from './scenario.ts'

const timeoutMs = 60_000

/** The user of an index; of equal length, as the topics of a publisher must be. */
export function returning (index: number): string { return `c${String(index).padStart(5, '0')}` }

/** One message for each of the users while they are away; answers what went wrong. A sender of its own each time: counters begin anew. */
export async function leaveMessages (peer: Peer, port: number, sender: string, { clients, body, payloadBytes }: Pick<Settings, 'clients' | 'body' | 'payloadBytes'>): Promise<string | undefined> {
  const publisher = new Publisher(await Connection.open({ port, user: sender }), {
    topics: Array.from({ length: clients }, (_, index) => peer.toUser(returning(index))), stream: 0, body, payloadBytes, window: clients
  })
  const fault = await publishAll(publisher, clients)
  await publisher.connection.close()
  return fault
}

/** Who came back, how long it took, and what was wrong with it. */
export class Returns {
  readonly connack: Latencies
  /** CONNACK, SUBACK and the message. */
  readonly ready: Latencies
  fault: string | undefined
  readonly #connections: Connection[] = []
  readonly #receivers: Receiver[] = []

  constructor (users: number) {
    this.connack = new Latencies(users)
    this.ready = new Latencies(users)
  }

  /** A user comes back and has the message; the clock runs from `due`. */
  async one (peer: Peer, port: number, user: string, due: number): Promise<void> {
    let hasMessage: (came: boolean) => void = () => {}
    const message = new Promise<boolean>(resolve => { hasMessage = resolve })
    const timer = setTimeout(() => { hasMessage(false) }, timeoutMs)
    const connection = await Connection.open({
      port,
      user,
      clean: false,
      timeoutMs,
      prepare: opened => {
        this.#connections.push(opened)
        opened.onLost = reason => { this.fault ??= `${user}: connection lost: ${reason}` }
        const receiver = new Receiver(opened, peer.systemMark)
        receiver.onMessage = () => { hasMessage(true) }
        this.#receivers.push(receiver)
      }
    })
    this.connack.add(performance.now() - due)
    if (!connection.sessionPresent) this.fault ??= `${user}: its session was not kept`
    // Clients subscribe again, whatever the CONNACK says of the session.
    await connection.subscribe([peer.inbox(user)])
    if (await message) this.ready.add(performance.now() - due)
    clearTimeout(timer)
  }

  /** What is wrong when `users` should be back. */
  check (users: number): string | undefined {
    const received = this.#receivers.reduce((sum, receiver) => sum + receiver.received, 0)
    this.fault ??= faults([], this.#receivers) ?? (received === users ? undefined : `${users - received} of ${users} messages never arrived`)
    return this.fault
  }

  async close (): Promise<void> { await Promise.all(this.#connections.map(connection => connection.close())) }
}
