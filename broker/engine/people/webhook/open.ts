/** Puts the question to an account system together, as `auth.webhook` says. Loaded by those who use it. */
import { Outgoing } from '../../../outgoing.ts'
import type { EngineHost } from '../../host.ts'
import { KeyFile, secretOf } from '../key-file.ts'
import type { OutsideAccounts } from '../outside-accounts.ts'
import type { SignInLimits } from '../sign-in-limits.ts'
import type { SignIn } from '../sign-in.ts'
import { Answers } from './answers.ts'
import { Line } from './line.ts'
import { Webhook } from './webhook.ts'

/** `auth.webhook` of the configuration. */
export interface WebhookOptions {
  url: string
  secretFile: string
  timeoutMs: number
  maxBytes: number
  concurrency: number
  queue: number
  cacheSeconds: number
  refusedCacheSeconds: number
  whenDown: 'refuse' | 'cached'
  downSeconds: number
  createUsers: boolean
}

export interface WebhookHost { host: EngineHost, limits: SignInLimits, signIn: Pick<SignIn, 'checkWait'>, accounts: OutsideAccounts }

/** Rejects when the file of the secret cannot be read. */
export async function openWebhook (options: WebhookOptions, { host, ...rest }: WebhookHost): Promise<Webhook> {
  const { url, secretFile, timeoutMs, maxBytes, concurrency, queue, whenDown } = options
  const { log } = host
  const clocks = { now: () => host.now(), steady: () => host.steady() }
  const secret = new KeyFile({ path: secretFile, read: secretOf, steady: clocks.steady, log })
  await secret.load()
  const times = { yesMs: options.cacheSeconds * 1000, noMs: options.refusedCacheSeconds * 1000, downMs: options.downSeconds * 1000 }
  return new Webhook({
    ...rest,
    url,
    whenDown,
    secret,
    outgoing: new Outgoing({ timeoutMs, maxBytes, sockets: concurrency }),
    answers: new Answers(times, clocks),
    line: new Line(concurrency, queue),
    clocks,
    log
  })
}
