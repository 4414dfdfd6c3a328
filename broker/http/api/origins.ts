/** Which pages of the web may use the API: those of this host, and those that the operator lists. */
import type { IncomingHttpHeaders } from 'node:http'

const methods = 'GET, POST, PUT, DELETE'
const requestHeaders = 'Authorization, Content-Type, Idempotency-Key, Last-Event-ID'
const exposedHeaders = 'Retry-After, WWW-Authenticate'
/** Seconds for which a browser may remember what it was told. */
const maxAgeSeconds = '600'

export class Origins {
  readonly #listed: ReadonlySet<string>

  /** `*` is any. */
  constructor (listed: readonly string[]) { this.#listed = new Set(listed) }

  /**
   * Whether a request may be served. A browser that has a password sends it along whichever page asks, and says the page's origin with all but plain
   * navigation: what a stranger's page has asked is not done.
   */
  allows ({ origin, host }: IncomingHttpHeaders): boolean {
    return origin === undefined || this.#isListed(origin) || (URL.canParse(origin) && new URL(origin).host === host)
  }

  /** Headers of an answer (Fetch, section 3.3.3). None lets a browser send credentials of its own: `Access-Control-Allow-Credentials` is never said. */
  headers ({ origin }: IncomingHttpHeaders): Record<string, string> {
    if (this.#listed.size === 0) return {}
    if (origin === undefined || !this.#isListed(origin)) return { vary: 'Origin' }
    return { vary: 'Origin', 'access-control-allow-origin': this.#listed.has('*') ? '*' : origin, 'access-control-expose-headers': exposedHeaders }
  }

  /** What a browser that asks before it asks is told beside that. */
  preflight (headers: IncomingHttpHeaders): Record<string, string> {
    const said = this.headers(headers)
    if (said['access-control-allow-origin'] === undefined) return said
    return { ...said, 'access-control-allow-methods': methods, 'access-control-allow-headers': requestHeaders, 'access-control-max-age': maxAgeSeconds }
  }

  #isListed (origin: string): boolean { return this.#listed.has('*') || this.#listed.has(origin) }
}
