/** Requests of this server to others that the operator has named: bounded in time, bytes and number; redirects are not followed. */
import { Agent as HttpAgent, request as httpRequest, type ClientRequest, type IncomingMessage } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'

export interface OutgoingLimits {
  /** Time for a whole exchange, milliseconds. */
  timeoutMs: number
  /** Largest body of an answer, bytes. */
  maxBytes: number
  /** Connections at the same time; what is more waits within its time. */
  sockets: number
}

export interface OutgoingRequest { url: string, method: 'GET' | 'POST', headers?: Record<string, string>, body?: Buffer }
export interface OutgoingAnswer { status: number, body: Buffer }

/** Keeps its connections until `close`. */
export class Outgoing {
  readonly #limits: OutgoingLimits
  readonly #http: HttpAgent
  readonly #https: HttpsAgent
  readonly #ending = new AbortController()

  constructor (limits: OutgoingLimits) {
    this.#limits = limits
    const options = { keepAlive: true, maxSockets: limits.sockets, maxFreeSockets: limits.sockets }
    this.#http = new HttpAgent(options)
    this.#https = new HttpsAgent(options)
  }

  /** Rejects with a reason that holds nothing of what was sent. */
  send ({ url, method, headers = {}, body }: OutgoingRequest): Promise<OutgoingAnswer> {
    const secure = url.startsWith('https:')
    const late = AbortSignal.timeout(this.#limits.timeoutMs)
    const options = {
      method,
      agent: secure ? this.#https : this.#http,
      headers: body === undefined ? headers : { ...headers, 'content-length': String(body.length) },
      signal: AbortSignal.any([late, this.#ending.signal])
    }
    return new Promise((resolve, reject) => {
      const fail = (error: Error): void => { reject(new Error(late.aborted ? `no answer within ${this.#limits.timeoutMs} ms` : reasonOf(error))) }
      const request: ClientRequest = (secure ? httpsRequest : httpRequest)(url, options, answer => {
        this.#read(answer).then(whole => { resolve({ status: answer.statusCode ?? 0, body: whole }) }, (error: Error) => {
          request.destroy()
          fail(error)
        })
      })
      request.on('error', fail)
      request.end(body)
    })
  }

  /** What is under way fails. */
  close (): void {
    this.#ending.abort()
    this.#http.destroy()
    this.#https.destroy()
  }

  async #read (answer: IncomingMessage): Promise<Buffer> {
    const chunks: Buffer[] = []
    let bytes = 0
    for await (const chunk of answer as AsyncIterable<Buffer>) {
      bytes += chunk.length
      if (bytes > this.#limits.maxBytes) throw new Error(`the answer is larger than ${this.#limits.maxBytes} bytes`)
      chunks.push(chunk)
    }
    return Buffer.concat(chunks)
  }
}

/** Of an address with several places the first one's. */
function reasonOf (error: Error): string {
  const [first] = error instanceof AggregateError ? error.errors as Error[] : []
  return (first ?? error).message
}
