/** The API as a program uses it: requests of the table become HTTP requests by their routes. */
import { requests, verbs } from '../../broker/operations.ts'
import type { HttpRoute } from '../../broker/operations/operation.ts'
import { directId } from '../../broker/topics.ts'

export interface Answered { status: number, headers: Headers, body: Record<string, unknown> }
type Params = Record<string, unknown>

export class ApiClient {
  readonly #base: string
  readonly #user: string
  readonly #authorization: string | undefined

  /** `password` null: no sign-in at all. `scheme` Bearer: it is a token. */
  constructor (port: number, user: string, password: string | null = '', scheme: 'Basic' | 'Bearer' = 'Basic') {
    this.#base = `http://127.0.0.1:${port}`
    this.#user = user
    this.#authorization = password === null ? undefined : scheme === 'Bearer' ? `Bearer ${password}` : `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`
  }

  async fetch (method: string, path: string, body?: string | Buffer, headers: Record<string, string> = {}): Promise<Answered> {
    const response = await fetch(this.#base + path, {
      method,
      headers: { ...this.#authorization !== undefined && { authorization: this.#authorization }, ...headers },
      ...body !== undefined && { body: typeof body === 'string' ? body : new Uint8Array(body) }
    })
    const text = await response.text()
    return { status: response.status, headers: response.headers, body: text === '' ? {} : JSON.parse(text) as Record<string, unknown> }
  }

  async json (method: string, path: string, body?: unknown): Promise<Answered> {
    return await this.fetch(method, path, body === undefined ? undefined : JSON.stringify(body), body === undefined ? {} : { 'content-type': 'application/json' })
  }

  async send (to: string, text: string | Buffer, headers: Record<string, string> = {}): Promise<Answered> {
    return await this.fetch('POST', `/v1/to/${to}`, text, { 'content-type': 'text/plain', ...headers })
  }

  /** A request of the table, by one of its routes (the last one unless another is named). */
  async ask (name: string, params: Params = {}, route?: HttpRoute): Promise<Answered> {
    const { method, path, body } = this.requestOf(name, params, route)
    return await this.json(method, path, body)
  }

  requestOf (name: string, params: Params, route?: HttpRoute): { method: string, path: string, body: Params | undefined } {
    const known = (requests.get(name) ?? verbs.get(name))?.http ?? []
    const [method = '', template = ''] = (route ?? known.at(-1) ?? '').split(' ')
    const rest = { ...params }
    if (template.includes('{conv}') && rest.conv === undefined && typeof rest.with === 'string') rest.conv = directId(this.#user, rest.with)
    const path = template.replaceAll(/\{(\w+)\}/g, (_all, param: string) => {
      const value = rest[param]
      if (value === undefined) throw new Error(`${name} has no ${param}: there is no path`)
      delete rest[param]
      return encodeURIComponent(String(value))
    })
    if (method === 'POST' || method === 'PUT') return { method, path, body: rest }
    const query = new URLSearchParams(Object.entries(rest).map(([key, value]): [string, string] => [key, typeof value === 'object' ? JSON.stringify(value) : String(value)])).toString()
    return { method, path: query === '' ? path : `${path}?${query}`, body: undefined }
  }
}
