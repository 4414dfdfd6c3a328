/** An event stream as a program reads it: events as they come, with the id that each leaves behind. */
import { request, type ClientRequest, type IncomingHttpHeaders, type IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { Mailbox } from './mailbox.ts'

export interface StreamEvent { event: string, id: string | undefined, data: unknown }

export interface EventSourceOptions {
  user: string
  password?: string
  /** `Authorization` as it is. */
  authorization?: string
  lastEventId?: string | undefined
  query?: string
  headers?: Record<string, string>
  /** Nothing is read. */
  deaf?: boolean
}

export class EventSource {
  readonly events = new Mailbox<StreamEvent>('the stream')
  readonly closed: Promise<void>
  status = 0
  headers: IncomingHttpHeaders = {}
  /** Where it is, by the last event that was had. */
  lastEventId: string | undefined
  /** Comments that came. */
  comments = 0
  retryMs: number | undefined
  /** What came, when it is no stream. */
  text = ''
  onEvent: ((event: StreamEvent) => void) | undefined
  readonly #request: ClientRequest
  #response: IncomingMessage | undefined
  #isCut = false

  constructor (port: number, { user, password = '', authorization, lastEventId, query = '', headers = {}, deaf = false }: EventSourceOptions) {
    this.lastEventId = lastEventId
    const asked = this.#request = request({
      port,
      host: '127.0.0.1',
      path: `/v1/stream${query}`,
      agent: false,
      headers: { authorization: authorization ?? `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`, accept: 'text/event-stream', ...lastEventId !== undefined && { 'last-event-id': lastEventId }, ...headers }
    })
    this.closed = new Promise(resolve => {
      asked.once('close', () => {
        this.events.end(new Error('the stream has ended'))
        resolve()
      })
    })
    asked.on('error', () => { asked.destroy() })
    asked.once('response', response => {
      this.#response = response
      this.status = response.statusCode ?? 0
      this.headers = response.headers
      response.on('error', () => { asked.destroy() })
      let rest = ''
      response.setEncoding('utf8')
      if (deaf) return
      response.on('data', (text: string) => {
        this.text = (this.text + text).slice(0, 4000)
        const parts = (rest + text).split('\n\n')
        rest = parts.pop() ?? ''
        for (const part of parts) if (!this.#isCut) this.#take(part)
      })
    })
    asked.end()
  }

  #take (part: string): void {
    const fields = new Map<string, string>()
    for (const line of part.split('\n')) {
      if (line.startsWith(':')) this.comments++
      const [, name, value] = /^(\w+): ?(.*)$/.exec(line) ?? []
      if (name !== undefined && value !== undefined) fields.set(name, value)
    }
    const id = fields.get('id')
    if (id !== undefined) this.lastEventId = id
    const retry = fields.get('retry')
    if (retry !== undefined) this.retryMs = Number(retry)
    const data = fields.get('data')
    if (data === undefined) return
    const event = { event: fields.get('event') ?? 'message', id, data: JSON.parse(data) as unknown }
    if (this.onEvent !== undefined) this.onEvent(event)
    else this.events.put(event)
  }

  /** The next event of this name. */
  async next (event = 'message'): Promise<Record<string, unknown>> {
    return (await this.events.take(one => one.event === event, 15_000, event)).data as Record<string, unknown>
  }

  get socket (): Socket | null { return this.#request.socket }

  /** Reads on. */
  resume (): void { this.#response?.resume() }

  /** Its connection breaks; what it had not read it never had. */
  cut (): void {
    this.#isCut = true
    this.#request.destroy()
  }
}
