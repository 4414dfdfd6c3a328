/** A sender and a receiver of `sabethes bench`. */
import type { MqttClient } from 'mqtt'

/** Messages under way in the closed loop. */
const window = 20
/** Pause after a refusal. */
const backOffMs = 50
const bodyBytes = 100

export class BenchPair {
  sent = 0
  delivered = 0
  repeated = 0
  refused = 0
  refusal: string | undefined
  readonly pubackMs: number[] = []
  readonly deliveryMs: number[] = []
  readonly #sender: MqttClient
  readonly #topic: string
  readonly #run: string
  readonly #now: () => number
  /** Due times of messages that have not arrived. */
  readonly #due = new Map<number, number>()
  /** Messages due earlier are the warm-up. */
  #from = Infinity
  #isOpen = true
  #isClosedLoop = false
  #unacknowledged = 0
  #last = 0
  #pausedUntil = 0
  #settle: (() => void) | undefined

  constructor (sender: MqttClient, receiver: MqttClient, topic: string, run: string, now: () => number) {
    this.#sender = sender
    this.#topic = topic
    this.#run = run
    this.#now = now
    // A refused message's notice comes before its PUBACK, subscribed or not.
    sender.on('message', (_topic, payload) => { this.#noticed(payload) })
    receiver.on('message', (_topic, payload) => { this.#arrived(payload) })
  }

  /** `from`: where the measurement begins; the closed loop sends by itself when there is room. */
  begin (from: number, isClosedLoop: boolean): void {
    this.#from = from
    this.#isClosedLoop = isClosedLoop
  }

  /** Nothing is sent any more. */
  end (): void { this.#isOpen = false }

  /** Sends until the window is full: a message is under way until it is acknowledged and delivered. */
  fill (): void {
    const now = this.#now()
    while (this.#isOpen && now >= this.#pausedUntil && this.#unacknowledged < window && this.#due.size < window) this.send(now)
  }

  send (due: number): void {
    if (!this.#isOpen) return
    const number = ++this.sent
    this.#due.set(number, due)
    this.#unacknowledged++
    this.#sender.publish(this.#topic, `${this.#run}/${number}/`.padEnd(bodyBytes, 'x'), { qos: 1 }, error => {
      this.#unacknowledged--
      if (error) this.#reject(number, error)
      else if (due >= this.#from) this.pubackMs.push(this.#now() - due)
      this.#look()
    })
  }

  /** Resolves when every message is acknowledged, and delivered or refused. */
  settled (): Promise<void> {
    return new Promise(resolve => {
      this.#settle = resolve
      this.#look()
    })
  }

  #noticed (payload: Buffer): void {
    const { kind, code, reason } = JSON.parse(payload.toString('utf8')) as { kind?: string, code?: string, reason?: string }
    if (kind === 'reject') this.refusal ??= `${code}: ${reason}`
  }

  #reject (number: number, error: Error): void {
    this.refusal ??= error.message
    this.refused++
    this.#due.delete(number)
    this.#pausedUntil = this.#now() + backOffMs
  }

  #arrived (payload: Buffer): void {
    const [run, text] = String((JSON.parse(payload.toString('utf8')) as { body?: unknown }).body).split('/')
    // What an earlier run left behind.
    if (run !== this.#run) return
    const number = Number(text)
    const due = this.#due.get(number)
    if (due === undefined || number <= this.#last) {
      this.repeated++
      return
    }
    this.#last = number
    this.#due.delete(number)
    this.delivered++
    if (due >= this.#from) this.deliveryMs.push(this.#now() - due)
    this.#look()
  }

  #look (): void {
    if (this.#isOpen) {
      if (this.#isClosedLoop) this.fill()
    } else if (this.#due.size === 0 && this.#unacknowledged === 0) this.#settle?.()
  }
}
