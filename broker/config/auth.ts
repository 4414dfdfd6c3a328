/** The keys of who is let in. */
import { z } from 'zod'
import { isLoopback } from '../network.ts'

const count = (fallback: number, text: string, min = 1) => z.int().min(min).default(fallback).describe(text)
const between = (fallback: number, min: number, max: number, text: string) => z.int().min(min).max(max).default(fallback).describe(text)
const file = (text: string) => z.string().max(4096).default('').describe(text)
const section = <Shape extends z.ZodRawShape> (text: string, shape: Shape) => z.strictObject(shape).prefault({} as never).describe(text)

/** What is sent there, or comes from there, decides who is let in: nobody on the way may read or change it. */
function isSafeUrl (text: string): boolean {
  if (text === '') return true
  if (!URL.canParse(text)) return false
  const { protocol, hostname, username, password } = new URL(text)
  return username === '' && password === '' && (protocol === 'https:' || (protocol === 'http:' && isLoopback(hostname)))
}

const safeUrl = (text: string) => z.string().max(2048).refine(isSafeUrl, 'must be https://…, or http:// of this machine, without a user name').default('').describe(text)

/** Signatures made with a secret that both sides have, and those that are checked with a public key. */
export const secretAlgorithms = ['HS256', 'HS384', 'HS512'] as const
const keyAlgorithms = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'] as const
const algorithms = [...secretAlgorithms, ...keyAlgorithms] as const

const jwtSection = section('Tokens of an account system that is there already (auth.mode jwt); see docs/accounts.md. One of secretFile, keyFile and keysUrl is needed.', {
  algorithms: z.array(z.enum(algorithms)).default([]).describe('Signatures that are taken; empty: HS256 with secretFile, otherwise RS256, ES256 and EdDSA. A secret goes with HS256, HS384 and HS512 alone, a key with none of them.'),
  secretFile: file('File with the secret that tokens are signed with, as it is (a line break at its end is left out): 32 bytes and more. Read again when it changes.'),
  keyFile: file('File with the public keys of who signs the tokens: PEM (keys or certificates, any of them fits), or a JWKS (JSON; the token names its key by `kid`). Read again when it changes.'),
  keysUrl: safeUrl('Address of the JWKS of who signs the tokens, https:// (http:// on this machine alone).'),
  issuer: z.string().max(1024).default('').describe('What a token must say as `iss`; empty takes any.'),
  audience: z.array(z.string().min(1).max(1024)).default([]).describe('What a token must name one of as `aud`; empty takes any: then tokens that were made for other applications of the same signer are taken, too.'),
  userClaim: z.string().min(1).max(128).default('sub').describe('The claim that is the user name. A CONNECT may leave the user name empty; one that it gives must be the same.'),
  clockToleranceSeconds: between(30, 0, 300, 'How much the clocks of who signs and of this server may differ: tokens are taken this much after their end, and before their beginning, seconds.'),
  createUsers: z.boolean().default(true).describe('Makes the account of a user at the first sign-in; false lets in only those whom `sabethes user add` has added.'),
  keysCacheSeconds: between(600, 1, 86_400, 'How old keys from keysUrl may be before they are fetched anew, seconds; they are used meanwhile.'),
  keysStaleSeconds: between(86_400, 1, 31_536_000, 'How old keys from keysUrl may be when they cannot be fetched, seconds; nobody is let in by older ones.'),
  keysRetrySeconds: between(30, 1, 3600, 'Time between two fetches at least, seconds: a token with a `kid` that is not known fetches anew, and so does whoever comes after a fetch that failed.'),
  timeoutMs: between(5000, 100, 60_000, 'Time for one fetch, milliseconds.'),
  maxBytes: between(262_144, 1024, 16_777_216, 'Largest answer of keysUrl, bytes.')
})

const webhookSection = section('Your account system, asked for each sign-in (auth.mode webhook); see docs/accounts.md.', {
  url: safeUrl('Address that is asked by POST, https:// (http:// on this machine alone).'),
  secretFile: file('File with the secret that questions are signed with, as it is (a line break at its end is left out): 32 bytes and more. Read again when it changes.'),
  timeoutMs: between(3000, 50, 60_000, 'Time for one answer, milliseconds.'),
  maxBytes: between(16_384, 256, 1_048_576, 'Largest answer, bytes.'),
  concurrency: between(32, 1, 1024, 'Questions at the same time.'),
  queue: count(1024, 'Sign-ins that may wait for their question, in turns by address; above it they are refused as unavailable.'),
  cacheSeconds: between(60, 0, 86_400, 'How long a yes counts for the same user, password, client id and address, seconds; not longer than it says itself. 0: each sign-in is asked for.'),
  refusedCacheSeconds: between(5, 0, 3600, 'How long a no counts, seconds.'),
  whenDown: z.enum(['refuse', 'cached']).default('refuse').describe('Sign-ins while there is no answer: refuse refuses them as unavailable; cached lets in whom the last answer, of the last downSeconds, has let in.'),
  downSeconds: between(3600, 1, 2_592_000, 'How old such an answer may be, seconds.'),
  createUsers: z.boolean().default(true).describe('Makes the account of a user at the first sign-in; false lets in only those whom `sabethes user add` has added.')
})

const tokensSection = section('Login tokens (auth.mode password), which a device uses instead of the password; see docs/accounts.md.', {
  accessSeconds: between(900, 10, 86_400, 'How long an access token is a password, seconds; its connections end then, unless the login is renewed.'),
  refreshSeconds: between(2_592_000, 60, 315_360_000, 'How long a login lasts without being renewed, seconds.'),
  graceSeconds: between(10, 0, 300, 'Time in which a refresh token that was used may be used once more, because its answer was lost, seconds. Later, the login ends: two have it.'),
  maxPerUser: count(100, 'Logins of one user; the oldest gives way.'),
  platforms: z.array(z.string().regex(/^[a-z0-9._-]{1,32}=[1-9][0-9]{0,4}$/, 'must be a platform and a number, such as phone=1')).default([])
    .describe('Logins of one user on a platform, such as phone=1, desktop=5: one more ends the oldest, whose connections are told. Platforms that are not named have no limit of their own.')
})

export const authSection = section('Who is let in.', {
  mode: z.enum(['dev', 'password', 'jwt', 'webhook']).default('dev').describe('dev lets any user name in, without a password and without an account; password asks for accounts made by `sabethes user add`; jwt for a signed token (auth.jwt); webhook asks your account system (auth.webhook).'),
  hashConcurrency: between(2, 1, 64, 'Passwords that are hashed at the same time; each takes about 20 MB.'),
  hashQueue: count(256, 'Logins that may wait for their hash: so many of accounts that signed in from their address before, and so many others; above it they are refused as unavailable.'),
  scramIterations: z.int().min(0).max(10_000_000).refine(n => n === 0 || n >= 4096, 'must be 0, or 4096 and more').default(100_000).describe('Iterations of the keys that are kept of each password for SCRAM-SHA-256 (MQTT 5), beside its hash, from which they keep a stolen store less safe; clients take that long to sign in, so fewer are for small devices. Keys made with others stay until the password is set, or used without SCRAM. 0 keeps none, and offers no SCRAM.'),
  failureLimit: count(10, 'Failed logins of one account from one address (one /64 of IPv6) before back-off: 1 s, doubling to 30 s.'),
  accountFailureLimit: count(100, 'Failed logins of one account from addresses that it never signed in from; above it such an address has one try, and further ones at auth.accountFailuresPerMinute.'),
  accountFailuresPerMinute: count(6, 'Failed logins of one account a minute, from all such addresses together, above auth.accountFailureLimit.'),
  addressFailureLimit: count(60, 'Failed logins from one address with accounts that never signed in from there; above it they come through at auth.addressFailuresPerMinute.'),
  addressFailuresPerMinute: count(120, 'Failed logins from one address a minute above auth.addressFailureLimit.'),
  knownAccounts: count(100_000, 'Accounts whose addresses are remembered, in memory: logins from there are not slowed by what strangers do.'),
  devAnywhere: z.boolean().default(false).describe('Allows dev mode, or openTopics "#", on a listener that is not on loopback: anyone who reaches it is let in.'),
  jwt: jwtSection,
  webhook: webhookSection,
  tokens: tokensSection
})

type Auth = z.output<typeof authSection>

/** What is wrong with keys that are right by themselves. */
export function * authProblems (auth: Auth): Generator<{ key: string, text: string }> {
  if (auth.mode === 'jwt') yield * jwtProblems(auth.jwt)
  if (auth.mode !== 'webhook') return
  for (const name of ['url', 'secretFile'] as const) if (auth.webhook[name] === '') yield { key: `auth.webhook.${name}`, text: 'is needed with auth.mode webhook' }
}

function * jwtProblems ({ algorithms, secretFile, keyFile, keysUrl }: Auth['jwt']): Generator<{ key: string, text: string }> {
  const given = [secretFile, keyFile, keysUrl].filter(place => place !== '')
  if (given.length !== 1) yield { key: 'auth.mode', text: `jwt needs one of auth.jwt.secretFile, auth.jwt.keyFile and auth.jwt.keysUrl${given.length === 0 ? '' : `, not ${given.length} of them`}` }
  const ofSecret = (name: string): boolean => (secretAlgorithms as readonly string[]).includes(name)
  const wrong = algorithms.filter(name => ofSecret(name) !== (secretFile !== ''))
  if (wrong.length > 0) yield { key: 'auth.jwt.algorithms', text: `${wrong.join(', ')} ${secretFile === '' ? 'would take a public key for a secret: anybody could sign' : 'is checked with a public key, not with auth.jwt.secretFile'}` }
}
