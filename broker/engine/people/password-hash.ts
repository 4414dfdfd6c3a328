/** argon2id off the event loop, a few at a time. */
import { hash, verify } from '@node-rs/argon2'
import { randomBytes } from 'node:crypto'
import { Refusal } from '../../errors.ts'
import { FairQueue, type Waiting } from '../../fair-queue.ts'

/** OWASP's first choice for argon2id: 19 MiB, two passes, one lane (about 25 ms). */
const cost = { memoryCost: 19_456, timeCost: 2, parallelism: 1 }

/** What is longer is nobody's password. */
export const maxPasswordBytes = 1_024

/** The key of hashes that no address asks for. */
const operator = ''
/** The key of work that nobody waits for: no address either. */
const background = '-'

/** What a sign-in may say to its hash. */
export interface Verification {
  /** Asked when its turn comes; may throw. */
  stillWanted: () => void
  /** Told of a wrong password before the next in line has its turn. */
  failed: () => void
  /** Strangers wait in turns by address. */
  address: string
  /** The account signed in from there before: it does not wait behind strangers. */
  known: boolean
}

/** What accounts need of passwords; tests give their own. */
export interface Passwords {
  hash (password: string | Uint8Array): Promise<string>
  verify (hashed: string | undefined, password: Uint8Array, verification: Verification): Promise<boolean>
  decoy (): Promise<string>
  /** Other work on passwords that takes as long, in turns with hashes; what nobody waits for is in line with strangers. Throws `Refusal` (`unavailable`) when too much waits. */
  work<Result> (task: () => Promise<Result>, waitedFor: boolean): Promise<Result>
}

export class PasswordHash implements Passwords {
  readonly #concurrency: number
  /** Who has been here before, and the operator; in turns with them the strangers. */
  readonly #known: FairQueue
  readonly #strangers: FairQueue
  #turn = 0
  #running = 0
  /** What is verified when there is no account, so that the answer takes as long. */
  #decoy: Promise<string> | undefined

  /** `concurrency`: hashes at the same time; `maxWaiting`: known ones, and strangers, that may wait for one. */
  constructor (concurrency: number, maxWaiting: number) {
    this.#concurrency = concurrency
    this.#known = new FairQueue(maxWaiting)
    this.#strangers = new FairQueue(maxWaiting)
  }

  hash (password: string | Uint8Array): Promise<string> { return this.#run(this.#known, operator, () => hash(password, cost)) }

  /** False also without a `hashed` (which takes as long). Throws `Refusal` (`unavailable`) when too many wait. */
  async verify (hashed: string | undefined, password: Uint8Array, { stillWanted, failed, address, known }: Verification): Promise<boolean> {
    const against = hashed ?? await this.decoy()
    return await this.#run(known ? this.#known : this.#strangers, address, async () => {
      stillWanted()
      const right = await verify(against, password) && hashed !== undefined
      if (!right) failed()
      return right
    })
  }

  work<Result> (task: () => Promise<Result>, waitedFor: boolean): Promise<Result> {
    return waitedFor ? this.#run(this.#known, operator, task) : this.#run(this.#strangers, background, task)
  }

  /** Made once; ask for it early, so that the first unknown user does not wait for it. */
  decoy (): Promise<string> {
    if (this.#decoy === undefined) {
      this.#decoy = hash(randomBytes(32), cost)
      this.#decoy.catch(() => { this.#decoy = undefined })
    }
    return this.#decoy
  }

  async #run<Result> (queue: FairQueue, key: string, task: () => Promise<Result>): Promise<Result> {
    if (this.#running >= this.#concurrency) {
      await new Promise<void>((resolve, reject) => {
        queue.push(key, { run: resolve, refuse: () => { reject(new Refusal('unavailable', 'too many people sign in at the same time')) } })
      })
    } else this.#running++
    try {
      return await task()
    } finally {
      // The place goes to the next in line, or is given back.
      const next = this.#next()
      if (next === undefined) this.#running--
      else next.run()
    }
  }

  /** Strangers have each fourth turn while known ones wait: neither keeps the others out. */
  #next (): Waiting | undefined {
    this.#turn = (this.#turn + 1) % 4
    const [first, second] = this.#turn === 0 ? [this.#strangers, this.#known] : [this.#known, this.#strangers]
    return first.shift() ?? second.shift()
  }
}
