/** A reader of the feed over deaths of the server and of its own: all that was acknowledged to senders reaches it, in the order of each conversation. */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import t from 'tap'
import type { Test } from 'tap'
import { Checker } from '../support/checker.ts'
import { wide } from '../support/configs.ts'
import { Complaints, Sender } from '../support/load.ts'
import { until } from '../support/mailbox.ts'
import { cleanEnv, cli, mainPath, startServer } from '../support/server.ts'
import type { Server } from '../support/server.ts'
import { sized } from '../support/store-choice.ts'

const kills = 4
/** Acknowledgements between two kills, at least. */
const load = sized({ level: 80, mongodb: 40 })
const people = Array.from({ length: 6 }, (_, i) => `u${i}`)

interface Line { ok?: false, kind: string, position: number, conv: string, message: { seq: number, id: string, content: string } }

/** `sabethes feed tail --reader audit`, started again whenever it ends. */
class Reader {
  /** Numbers of each conversation, in the order in which they came; ids and bodies by number. */
  readonly came = new Map<string, number[]>()
  readonly bodies = new Set<string>()
  readonly wrong: string[] = []
  readonly #ids = new Map<string, string>()
  readonly #server: Server
  #child: ChildProcess | undefined
  #stopping = false
  #done: Promise<void> = Promise.resolve()

  constructor (t: Test, server: Server) {
    this.#server = server
    t.teardown(async () => { await this.stop() })
  }

  start (): void { this.#done = this.#run() }

  async #run (): Promise<void> {
    while (!this.#stopping) {
      const child = spawn(process.execPath, [mainPath, 'feed', 'tail', '--reader', 'audit', '--json', '--data', this.#server.data, '--config', this.#server.configPath], { env: cleanEnv(), stdio: ['ignore', 'pipe', 'ignore'] })
      this.#child = child
      const ended = once(child, 'exit')
      for await (const text of createInterface({ input: child.stdout })) this.#take(text)
      await ended
    }
  }

  #take (text: string): void {
    let line: Line
    try {
      line = JSON.parse(text) as Line
    } catch (error) {
      // The last line of a reader that was killed.
      if (error instanceof SyntaxError) return
      throw error
    }
    // Its server is gone: it is started again.
    if (line.ok === false) return
    if (line.kind !== 'message') {
      this.wrong.push(text)
      return
    }
    const { conv, message } = line
    const list = this.came.get(conv) ?? []
    list.push(message.seq)
    this.came.set(conv, list)
    const at = `${conv} ${message.seq}`
    if ((this.#ids.get(at) ?? message.id) !== message.id) this.wrong.push(`${at} is ${this.#ids.get(at)} and ${message.id}`)
    this.#ids.set(at, message.id)
    this.bodies.add((JSON.parse(`{${message.content}}`) as { body: string }).body)
  }

  /** Entries that came more than once. */
  repeats (): number { return [...this.came.values()].reduce((sum, list) => sum + list.length - new Set(list).size, 0) }

  kill9 (): void { this.#child?.kill('SIGKILL') }

  async stop (): Promise<void> {
    this.#stopping = true
    this.#child?.kill('SIGKILL')
    await this.#done
  }
}

await t.test('what was acknowledged reaches the reader, over kills of both', async t => {
  const server = await startServer(t, { config: wide })
  const added = await cli(['feed', 'add', 'audit', '--data', server.data, '--config', server.configPath])
  t.equal(added.code, 0, added.stderr)
  const reader = new Reader(t, server)
  reader.start()
  const checker = new Checker()
  const complaints = new Complaints()
  const senders = people.map((user, i) => {
    const other = people[i % 2 === 0 ? i + 1 : i - 1] as string
    const conv = user < other ? `d:${user}:${other}` : `d:${other}:${user}`
    checker.conversation(conv, [user, other])
    return new Sender(t, server, checker, complaints, user, [{ conv, topic: `im/to/u/${other}` }], { withCid: i % 2 === 0, pauseMs: 30 })
  })
  const running = Promise.all(senders.map(async sender => { await sender.run() }))
  // A sender's failure is reported at the end.
  running.catch((cause: Error) => { complaints.add(cause.message) })
  for (let kill = 1; kill <= kills; kill++) {
    const mark = checker.acknowledgedCount
    await until(() => checker.acknowledgedCount >= mark + load, 60_000, `${load} acknowledgements before kill ${kill}`)
    if (kill % 2 === 0) reader.kill9()
    await server.kill9()
    await server.restart()
  }
  const mark = checker.acknowledgedCount
  await until(() => checker.acknowledgedCount >= mark + load, 60_000, `${load} acknowledgements after the last kill`)
  for (const sender of senders) sender.stop()
  await running
  const sent = [...checker.conversations()].flatMap(conv => checker.sentTo(conv))
  const lost = (): string[] => sent.filter(({ body, acknowledged }) => acknowledged && !reader.bodies.has(body)).map(({ body }) => body)
  await until(() => lost().length === 0, 60_000, 'the reader').catch((cause: Error) => { t.comment(cause.message) })
  t.comment(`${sent.length} sent, ${reader.bodies.size} came, ${reader.repeats()} of them again`)
  t.same(lost().slice(0, 20), [], 'nothing acknowledged is missing')
  t.ok(reader.bodies.size >= kills * load)
  t.same(reader.wrong, [], 'no gap, and each number is one message')
  t.same(complaints.list, [])
  for (const [conv, list] of reader.came) {
    const firsts = [...new Set(list)]
    t.same(firsts, firsts.map((_, i) => i + 1), `${conv}: all numbers, in their order`)
  }
  t.equal(reader.came.size, people.length / 2)
  // The cursor is where it should be: a reader that begins again now gets nothing.
  await until(async () => {
    const { stdout } = await cli(['feed', 'readers', '--json', '--data', server.data, '--config', server.configPath])
    return (JSON.parse(stdout) as Array<{ behind: number }>)[0]?.behind === 0
  }, 30_000, 'the last acknowledgement of the reader')
})
