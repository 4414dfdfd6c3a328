/** The keep alive that clients are advised to ask for, by the network they are on: as configured, or as the operator said since. */
import { Refusal } from '../errors.ts'
import type { KeepAlive, KeepAliveChange } from '../operations/rules.ts'
import type { EngineHost } from './host.ts'

/** What the operator said; of the others the configuration's holds. */
const recordKey = 'server/keepalive'
const networks = ['wifi', 'cellular', 'nat'] as const

export interface KeepAliveOptions {
  /** Seconds (`mqtt.keepAlive`). */
  configured: KeepAlive
  /** The longest that MQTT 5 clients are let have, seconds (`mqtt.limits.keepAliveMaxSeconds`). */
  maxSeconds: number
}

export const defaultKeepAlive: KeepAliveOptions = { configured: { wifi: 120, cellular: 230, nat: 55 }, maxSeconds: 65_535 }

export class KeepAliveAdvice {
  readonly #host: Pick<EngineHost, 'store'>
  readonly #options: KeepAliveOptions
  readonly #changed: () => void
  #said: Partial<KeepAlive> = {}
  /** Changes are made one after the other. */
  #last: Promise<unknown> = Promise.resolve()

  /** `changed` is called when `current` is another one, and that is on disk. */
  constructor (host: Pick<EngineHost, 'store'>, options: KeepAliveOptions, changed: () => void) {
    this.#host = host
    this.#options = options
    this.#changed = changed
  }

  /** Never more than clients are let have. */
  get current (): KeepAlive {
    const { configured, maxSeconds } = this.#options
    const advice = { ...configured, ...this.#said }
    for (const network of networks) advice[network] = Math.min(advice[network], maxSeconds)
    return advice
  }

  /** Takes up what was said in an earlier run. */
  async load (): Promise<void> {
    this.#said = await this.#stored() ?? {}
  }

  /** Takes up what another server may have changed. */
  async reload (key = recordKey): Promise<void> {
    if (key !== recordKey) return
    const turn = this.#last.then(async () => {
      const before = JSON.stringify(this.current)
      this.#said = await this.#stored() ?? {}
      if (JSON.stringify(this.current) !== before) this.#changed()
    })
    this.#last = turn.catch(() => {
      // Who asked for it is told.
    })
    await turn
  }

  async #stored (): Promise<Partial<KeepAlive> | undefined> {
    const bytes = await this.#host.store.records.get(recordKey)
    return bytes === undefined ? undefined : JSON.parse(Buffer.from(bytes).toString()) as Partial<KeepAlive>
  }

  /** Throws `Refusal`. Resolves when it is on disk. */
  async change (change: KeepAliveChange): Promise<KeepAlive> {
    const turn = this.#last.then(() => this.#change(change))
    this.#last = turn.catch(() => {
      // Whoever asked for it is told; the next change does not depend on it.
    })
    return await turn
  }

  async #change ({ reset, ...given }: KeepAliveChange): Promise<KeepAlive> {
    const { maxSeconds } = this.#options
    const said: Partial<KeepAlive> = reset ? {} : { ...this.#said }
    for (const network of networks) {
      const seconds = given[network]
      if (seconds === undefined) continue
      if (seconds > maxSeconds) throw new Refusal('bad_payload', `${network}: must be at most ${maxSeconds} (mqtt.limits.keepAliveMaxSeconds)`)
      said[network] = seconds
    }
    if (networks.every(network => said[network] === this.#said[network])) return this.current
    const value = Object.keys(said).length === 0 ? null : Buffer.from(JSON.stringify(said))
    await this.#host.store.records.write([{ key: recordKey, value }], true)
    this.#said = said
    this.#changed()
    return this.current
  }
}
