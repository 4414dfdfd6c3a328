/** The load of the fault tests: people who write to each other while things go wrong, two devices each, and what must hold at the end. */
import type { Test } from 'tap'
import { Checker } from './checker.ts'
import { Complaints, Sender, receiver } from './load.ts'
import type { Place, Steady } from './load.ts'
import { until } from './mailbox.ts'
import { patientDevice } from './mqtt.ts'
import { history, settle } from './places.ts'
import type { Conversation } from './places.ts'

export interface LoadOptions {
  /** Milliseconds between two sends of a person. */
  pauseMs: number
  /** Milliseconds for the last acknowledgements, and for what is to arrive behind them (default 60,000). */
  patienceMs?: number
  /** Each device says that it has read, at each so many messages (default 0: never). */
  readEach?: number
}

export class LoadRun {
  readonly checker = new Checker()
  readonly complaints = new Complaints()
  readonly people: readonly string[]
  readonly conversations: readonly Conversation[]
  readonly receivers: Steady[] = []
  readonly senders: Sender[] = []
  readonly #patienceMs: number
  #sending: Promise<unknown> = Promise.resolve()

  private constructor (people: readonly string[], conversations: readonly Conversation[], patienceMs: number) {
    this.people = people
    this.conversations = conversations
    this.#patienceMs = patienceMs
    for (const { conv, members } of conversations) this.checker.conversation(conv, members, conv.startsWith('g:') ? 2 : 1)
  }

  /** Resolves when all are connected and have begun. Half of them give their messages a `cid`. */
  static async start (t: Test, server: { url: string, mqttPort: number }, people: readonly string[], { pauseMs, patienceMs = 60_000, readEach = 0 }: LoadOptions): Promise<LoadRun> {
    const { conversations, places } = await settle(t, server.url, people)
    const run = new LoadRun(people, conversations, patienceMs)
    const { checker, complaints } = run
    for (const user of people) for (const name of ['phone', 'tablet']) run.receivers.push(await receiver(t, server.url, checker, user, name, readEach))
    run.senders.push(...people.map((user, i) => new Sender(t, server, checker, complaints, user, places.get(user) as Place[], { withCid: i % 2 === 0, pauseMs, patienceMs })))
    run.#sending = Promise.all(run.senders.map(async sender => { await sender.run() }))
    // A sender's failure is reported at the end, by `finish`.
    run.#sending.catch((cause: Error) => { complaints.add(cause.message) })
    return run
  }

  /** Clients with a connection each. */
  get clients (): number { return this.receivers.length + this.senders.length }

  /** Resolves when so many more are acknowledged. */
  async progress (count: number, what: string): Promise<void> {
    const mark = this.checker.acknowledgedCount
    await until(() => this.checker.acknowledgedCount >= mark + count, this.#patienceMs, `${count} acknowledgements ${what}`)
  }

  /** Sends no more; all that was sent is acknowledged, and on each device once, in order, without gaps. */
  async finish (t: Test): Promise<void> {
    const { checker, complaints } = this
    for (const sender of this.senders) sender.stop()
    await this.#sending
    await until(() => checker.missing() === 0, this.#patienceMs, 'the receivers').catch((cause: Error) => { t.comment(cause.message) })
    t.comment(`${checker.sentCount} sent, ${checker.acknowledgedCount} acknowledged`)
    t.equal(checker.acknowledgedCount, checker.sentCount, 'in the end everything is acknowledged')
    t.same(complaints.list, [], 'nobody was refused')
    for (const [kind, list] of Object.entries(checker.findings()) as Array<[string, string[]]>) t.same(list.slice(0, 20), [], `${kind}: ${list.length}`)
    for (const user of this.people) if (checker.receivedCount(`${user}/phone`) === 0) t.fail(`${user} received nothing`)
  }

  /** From outside: the numbers of each conversation have no gaps. */
  async checkHistory (t: Test, url: string, conversations: readonly Conversation[] = this.conversations): Promise<void> {
    for (const { conv, members } of conversations) {
      const reader = await patientDevice(t, url, members[0] as string, { clientId: 'historian' })
      const log = await history(reader, conv)
      await reader.end()
      t.same(log.map(one => one.seq), log.map((_, i) => i + 1), `${conv}: ${log.length} numbers without gaps`)
      t.ok(log.length > 0)
    }
  }
}
