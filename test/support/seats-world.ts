/** Several engines on one store, that hear of each other as servers of a cluster do; a gateway that does nothing but end the connections that it is told to. */
import type { Test } from 'tap'
import type { SessionResume, SessionStart } from '../../broker/link/port.ts'
import type { Holder, Others, Released, Seat } from '../../broker/link/remote.ts'
import { NoticingStore } from '../../broker/cluster/notices.ts'
import type { EngineOptions } from '../../broker/engine/engine.ts'
import { openLevelStore } from '../../broker/store/level/store.ts'
import type { Store } from '../../broker/store/store.ts'
import { openBench, type EngineBench } from './engine-bench.ts'

type Row = Required<Pick<Holder, 'node' | 'epoch'>> & { openedAt: number }

export class SeatsWorld {
  readonly servers = new Map<string, SeatsServer>()
  readonly claims = new Map<string, Row>()
  /** Servers that are over. */
  readonly over = new Set<string>()
  /** Of servers that hear nothing of the others, and the others nothing of them. */
  readonly cut = new Set<string>()
  /** Nobody hears of anybody, and of no claim. */
  away = false
  /** What was asked: `{by} asks {of} for {session}`. */
  readonly asked: string[] = []
  readonly #t: Test
  #store: Promise<Store> | undefined

  constructor (t: Test) { this.#t = t }

  async start (name: string, options: Partial<EngineOptions> = {}): Promise<SeatsServer> {
    this.#store ??= this.#open()
    const store = await this.#store
    const nodes = { self: name, over: (names: readonly string[]) => Promise.resolve(names.filter(one => this.over.has(one))) }
    const own = new Proxy(store, {
      get: (target, key) => {
        if (key === 'nodes') return nodes
        const value: unknown = Reflect.get(target, key)
        return typeof value === 'function' ? value.bind(target) as unknown : value
      }
    })
    const tell = new NoticingStore(own, notices => {
      if (this.away) return
      for (const other of this.servers.values()) if (other.name !== name) for (const notice of notices) other.bench.engine.remote.forget(notice)
    })
    const server = new SeatsServer(name, await openBench(this.#t, { ...options, others: this.#others(name) }, tell))
    this.servers.set(name, server)
    return server
  }

  async #open (): Promise<Store> {
    const store = await openLevelStore({ path: this.#t.testdir() })
    this.#t.teardown(() => store.close())
    return store
  }

  #reaches (by: string, node: string): boolean { return !this.away && !this.cut.has(by) && !this.cut.has(node) && !this.over.has(node) && this.servers.has(node) }

  #others (self: string): Others {
    const away = (): boolean => this.away || this.cut.has(self)
    const there = (row: Row | undefined): Holder | undefined => row === undefined || row.node === self || this.over.has(row.node) ? undefined : { node: row.node, epoch: row.epoch }
    const put = ({ session, epoch, openedAt }: Seat): void => { this.claims.set(session, { node: self, epoch, openedAt }) }
    return {
      claim: async seat => {
        await Promise.resolve()
        if (away()) return undefined
        const before = this.claims.get(seat.session)
        put(seat)
        return there(before)
      },
      keep: async seat => {
        await Promise.resolve()
        if (away()) return { mine: true }
        const row = this.claims.get(seat.session)
        const holder = there(row)
        if (holder === undefined || row === undefined) {
          put(seat)
          return { mine: true }
        }
        const mine = row.openedAt < seat.openedAt || (row.openedAt === seat.openedAt && row.node < self)
        if (mine) put(seat)
        return { mine, holder }
      },
      leave: ({ session, epoch }) => { if (!away() && this.claims.get(session)?.epoch === epoch) this.claims.delete(session) },
      release: async (session, { node, epoch }): Promise<Released | undefined> => {
        this.asked.push(`${self} asks ${node} for ${session}`)
        if (!this.#reaches(self, node)) return undefined
        return await this.servers.get(node)?.bench.engine.remote.release(session, epoch)
      }
    }
  }
}

export class SeatsServer {
  readonly name: string
  readonly bench: EngineBench
  /** Sessions with a connection here, and how they were answered. */
  readonly connected = new Map<string, SessionResume>()
  /** Connections that were ended: `{session} {code}`. */
  readonly kicked: string[] = []
  /** While true, connections that are to be ended are not. */
  deaf = false
  /** Runs when a connection has ended, before the engine hears of that. */
  onEnd: (session: string) => void = () => {}
  /** Up to which of its publishes a client is known to have the answers when its connection ends. */
  proven = 0

  constructor (name: string, bench: EngineBench) {
    this.name = name
    this.bench = bench
    const { outputs } = bench
    const { push } = outputs
    outputs.push = (...some) => {
      for (const output of some) if (output.kind === 'kick') this.#kick(output.user, output.session, output.code)
      return push.apply(outputs, some)
    }
  }

  /** Connects as a gateway does: one at a time of each session, whose earlier connection here ends first. Rejects with the code of a refusal. */
  async connect (session: string, more: Partial<SessionStart> = {}): Promise<SessionResume> {
    if (this.connected.has(session)) await this.lose(session)
    const [user = '', clientId = ''] = session.split(/\/(.*)/)
    const answer = await this.bench.engine.openSession({ session, user, clientId, cleanStart: false, expirySeconds: 600, ...more })
    if (!answer.ok) throw new Error(answer.code)
    this.connected.set(session, answer.value)
    return answer.value
  }

  async lose (session: string): Promise<void> {
    this.connected.delete(session)
    this.onEnd(session)
    const { engine } = this.bench
    engine.hangUp(session, false)
    await engine.closeSession({ session, expirySeconds: 600, graceful: false, inflight: [], proven: this.proven })
  }

  #kick (user: string, only: string | undefined, code: string): void {
    if (this.deaf) return
    for (const session of [...this.connected.keys()]) {
      if (!session.startsWith(`${user}/`) || (only !== undefined && only !== session)) continue
      this.kicked.push(`${session} ${code}`)
      this.lose(session).catch((error: unknown) => { this.kicked.push(String(error)) })
    }
  }
}
