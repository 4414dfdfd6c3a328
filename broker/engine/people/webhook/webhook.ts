/** Sign-in by asking another account system (`auth.mode: webhook`). */
import type { Logger } from 'pino'
import { Refusal } from '../../../errors.ts'
import type { AuthStep, SignedIn, SignInRequest } from '../../../link/port.ts'
import { network } from '../../../network.ts'
import type { Outgoing } from '../../../outgoing.ts'
import type { KeySource } from '../key-file.ts'
import type { OutsideAccounts } from '../outside-accounts.ts'
import { maxPasswordBytes } from '../password-hash.ts'
import type { SignInLimits } from '../sign-in-limits.ts'
import type { SignIn } from '../sign-in.ts'
import type { Answers } from './answers.ts'
import { requestOf, verdictOf, type Question, type Verdict } from './call.ts'
import type { Line } from './line.ts'

/** Questions without an answer in a row after which nobody waits for one: */
const downAfter = 3
/** one is asked so often, milliseconds, until there is an answer again. */
const probeMs = 1000
/** Characters of a user name: an account system may know people by addresses. */
const maxNameLength = 320

export interface WebhookParts {
  readonly url: string
  readonly whenDown: 'refuse' | 'cached'
  readonly secret: KeySource<Uint8Array>
  readonly outgoing: Pick<Outgoing, 'send' | 'close'>
  readonly answers: Answers
  readonly line: Line
  readonly limits: SignInLimits
  readonly signIn: Pick<SignIn, 'checkWait'>
  readonly accounts: OutsideAccounts
  readonly clocks: { now: () => number, steady: () => number }
  readonly log: Logger
}

export class Webhook {
  readonly #parts: WebhookParts
  /** Questions that are asked now: equal ones have one answer. */
  readonly #asking = new Map<string, Promise<Verdict>>()
  /** Without an answer, in a row. */
  #failures = 0
  #triedAt = -Infinity

  constructor (parts: WebhookParts) { this.#parts = parts }

  /** Throws `Refusal`: `unauthorized`, `banned`, `rate_limited`, `unavailable`. */
  async authenticate (request: SignInRequest): Promise<SignedIn> {
    const { accounts, answers, limits, signIn } = this.#parts
    const question = questionOf(request)
    const [account, address] = [question.user ?? '', network(request.address)]
    signIn.checkWait(account, address)
    const name = answers.name(question)
    const verdict = answers.fresh(name) ?? await this.#ask(name, question, address)
    if (!verdict.allow) {
      limits.failed(account, address)
      throw new Refusal('unauthorized', 'the account system says no')
    }
    limits.succeeded(account, address)
    await accounts.admit(verdict.user)
    return { user: verdict.user, ...verdict.until !== undefined && { until: verdict.until } }
  }

  /** What is proven without the password cannot be asked for. */
  step (): Promise<AuthStep> { return Promise.reject(new Refusal('unauthorized', 'the authentication method is not known')) }

  close (): void {
    this.#parts.secret.close()
    this.#parts.outgoing.close()
  }

  #ask (name: string, question: Question, address: string): Promise<Verdict> {
    const same = this.#asking.get(name)
    if (same !== undefined) return same
    const { line, signIn } = this.#parts
    const asked = line.run(address, async () => {
      // Tries that came at once must not all pass before the first has failed.
      signIn.checkWait(question.user ?? '', address)
      return await this.#call(name, question)
    }).finally(() => { this.#asking.delete(name) })
    this.#asking.set(name, asked)
    return asked
  }

  async #call (name: string, question: Question): Promise<Verdict> {
    const { answers, clocks, log, outgoing, secret, url } = this.#parts
    if (this.#failures >= downAfter && clocks.steady() - this.#triedAt < probeMs) return this.#withoutAnswer(name)
    this.#triedAt = clocks.steady()
    try {
      const verdict = verdictOf(await outgoing.send(requestOf(url, question, await secret.current(), clocks.now())), question)
      this.#failures = 0
      answers.keep(name, verdict)
      return verdict
    } catch (error) {
      if (error instanceof TypeError || error instanceof RangeError) throw error
      this.#failures += 1
      log.warn({ url, reason: (error as Error).message }, 'the account system did not answer')
      return this.#withoutAnswer(name)
    }
  }

  /** `auth.webhook.whenDown`. Throws `Refusal`. */
  #withoutAnswer (name: string): Verdict {
    const kept = this.#parts.whenDown === 'cached' ? this.#parts.answers.late(name) : undefined
    if (kept === undefined) throw new Refusal('unavailable', 'the account system does not answer', probeMs)
    return kept
  }
}

/** Throws `Refusal` for what no account system is asked about. */
function questionOf ({ user, password, clientId, address, protocol }: SignInRequest): Question {
  if ((user?.length ?? 0) > maxNameLength || (password?.length ?? 0) > maxPasswordBytes) throw new Refusal('unauthorized', 'the user name or the password is too long')
  const text = password === undefined ? null : Buffer.from(password).toString('utf8')
  if (text !== null && !Buffer.from(text).equals(Buffer.from(password as Uint8Array))) throw new Refusal('unauthorized', 'the password is no UTF-8')
  return { user: user ?? null, password: text, clientId: clientId ?? null, address, protocol: protocol ?? null }
}
