/** What the gateway sees of the broker of ordinary topics, in memory: it acknowledges when the test says so. */
import type { OrdinaryClient, OrdinaryPeer, OrdinaryTopics } from '../../broker/gateway/ordinary-topics.ts'

export class FakeOrdinary implements OrdinaryTopics {
  readonly shares = true
  readonly frames: Buffer[] = []
  readonly known = new Set<string>()
  readonly ended: boolean[] = []
  attached = 0
  readonly wills: string[] = []
  /** What `forget` waits for. */
  forgetting: Promise<void> = Promise.resolve()
  readonly forgotten: string[] = []
  readonly peers: OrdinaryPeer[] = []

  knows (session: string): boolean { return this.known.has(session) }

  counts (): { retained: number, queuedBytes: number, dropped: number } { return { retained: 0, queuedBytes: 0, dropped: 0 } }
  retains (): boolean { return true }

  async forget (session: string): Promise<void> {
    this.forgotten.push(session)
    this.known.delete(session)
    await this.forgetting
  }

  async publishWill (session: string): Promise<void> { this.wills.push(session) }

  async attach (peer: OrdinaryPeer): Promise<OrdinaryClient> {
    this.attached++
    this.peers.push(peer)
    const filters = new Set<string>()
    return {
      forward: frame => { this.frames.push(frame) },
      wake: () => {},
      hasInFlight: () => true,
      subscribe: async (subscriptions, _identifier, granted) => {
        for (const one of subscriptions) filters.add(one.filter)
        granted()
      },
      unsubscribe: async gone => { for (const one of gone) filters.delete(one) },
      filters: () => [...filters],
      end: graceful => { this.ended.push(graceful) }
    }
  }
}
