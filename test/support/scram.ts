/** The client's side of SCRAM-SHA-256, written from RFC 5802 and RFC 7677 alone: it shares no code with the server. */
import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto'

export const method = 'SCRAM-SHA-256'

export interface ScramOptions { user: string, password: string, /** gs2-header */ header?: string, nonce?: string }

/** One exchange. */
export class ScramClient {
  readonly #password: string
  readonly #header: string
  readonly #nonce: string
  readonly #bare: string
  #authMessage = ''
  #salted = Buffer.alloc(0)

  constructor ({ user, password, header = 'n,,', nonce = randomBytes(12).toString('base64') }: ScramOptions) {
    this.#password = password
    this.#header = header
    this.#nonce = nonce
    this.#bare = `n=${user.replaceAll('=', '=3D').replaceAll(',', '=2C')},r=${nonce}`
  }

  /** client-first-message */
  get first (): Buffer { return Buffer.from(this.#header + this.#bare) }

  /** client-final-message, for a server-first-message. `header`: what it says to have sent. */
  final (serverFirst: Uint8Array, header = this.#header): Buffer {
    const text = Buffer.from(serverFirst).toString()
    const fields = fieldsOf(text)
    const nonce = fields.get('r') ?? ''
    if (!nonce.startsWith(this.#nonce) || nonce === this.#nonce) throw new Error(`not a nonce for ${this.#nonce}: ${nonce}`)
    this.#salted = pbkdf2Sync(this.#password.normalize('NFKC'), Buffer.from(fields.get('s') ?? '', 'base64'), Number(fields.get('i')), 32, 'sha256')
    const bare = `c=${Buffer.from(header).toString('base64')},r=${nonce}`
    this.#authMessage = `${this.#bare},${text},${bare}`
    const clientKey = hmac(this.#salted, 'Client Key')
    const signature = hmac(createHash('sha256').update(clientKey).digest(), this.#authMessage)
    return Buffer.from(`${bare},p=${Buffer.from(clientKey.map((byte, at) => byte ^ (signature[at] ?? 0))).toString('base64')}`)
  }

  /** Whether a server-final-message shows that the server knows the password. */
  trusts (serverFinal: Uint8Array): boolean {
    const signature = hmac(hmac(this.#salted, 'Server Key'), this.#authMessage)
    return Buffer.from(serverFinal).toString() === `v=${signature.toString('base64')}`
  }
}

/** `a=…,b=…` by letter. */
export function fieldsOf (text: string): Map<string, string> {
  return new Map(text.split(',').map(field => [field.slice(0, 1), field.slice(2)]))
}

function hmac (key: Buffer, text: string): Buffer { return createHmac('sha256', key).update(text).digest() }
