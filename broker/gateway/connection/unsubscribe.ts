import type { Engine } from '../../link/port.ts'
import { encodeUnsuback, type ProtocolVersion, type UnsubscribeFrame } from '../../mqtt/index.ts'
import type { Topics } from '../../topics.ts'
import type { Session } from '../delivery/session.ts'
import type { OrdinaryClient } from '../ordinary-topics.ts'
import { unitsOfFilters, type Allowance } from './allowance.ts'
import { judgeAnswer } from './answer-room.ts'
import { Memberships } from './memberships.ts'
import type { Evidence } from './evidence.ts'
import type { Output } from './output.ts'
import { saveSubscriptions } from './stored-subscriptions.ts'

/** UNSUBACK (MQTT 5.0, section 3.11.3). */
const noSubscription = 0x11

export interface UnsubscribingClient {
  readonly version: ProtocolVersion
  readonly maximumPacketBytes: number
  readonly session: Session | undefined
  readonly output: Output
  readonly evidence: Evidence | undefined
  readonly allowance: Allowance
  readonly ordinary: OrdinaryClient | undefined
  readonly ordinaryFilters: Set<string> | undefined
  during (work: Promise<void>): void
}

export interface UnsubscribeContext {
  readonly engine: Pick<Engine, 'saveSubscriptions'>
  readonly topics: Topics
}

/** UNSUBSCRIBE. */
export class UnsubscribeHandler {
  readonly #context: UnsubscribeContext

  constructor (context: UnsubscribeContext) { this.#context = context }

  handle (client: UnsubscribingClient, frame: UnsubscribeFrame): void {
    client.allowance.spend(unitsOfFilters(frame.filters.length))
    judgeAnswer(client, frame.filters.length)
    client.evidence?.reuse(frame.packetId)
    client.during(this.#unsubscribe(client, frame))
  }

  async #unsubscribe (client: UnsubscribingClient, frame: UnsubscribeFrame): Promise<void> {
    const { session, ordinaryFilters } = client
    const { engine, topics } = this.#context
    if (session === undefined) return
    const done = new Array<number>(frame.filters.length)
    const ordinary: string[] = []
    let changed = false
    for (const [at, filter] of frame.filters.entries()) {
      const had = session.interest.delete(filter)
      changed ||= had
      if (!had && !topics.isChat(filter) && mayHave(client, filter)) ordinary.push(filter)
      done[at] = had || ordinaryFilters?.delete(filter) === true ? 0 : noSubscription
    }
    if (changed) {
      session.applyInterest()
      const saved = saveSubscriptions(engine, client)
      // At once, and the engine hears of a share that ends after it has heard what the session has left.
      retire(session, frame.filters)
      await saved
    }
    if (session.closed) return
    if (ordinary.length > 0) await client.ordinary?.unsubscribe(ordinary)
    client.output.write(encodeUnsuback(client.version, frame.packetId, done))
  }
}

function retire ({ dealt }: Session, filters: readonly string[]): void {
  if (dealt instanceof Memberships) for (const filter of filters) dealt.retire(filter)
}

/** A session that was resumed may hold ordinary filters that this connection has not named. */
function mayHave ({ ordinary, ordinaryFilters }: UnsubscribingClient, filter: string): boolean {
  return ordinary !== undefined || ordinaryFilters?.has(filter) === true
}
