/** What a Redis server has done, by its own count (`INFO commandstats`): the servers under test pay nothing for it. */
import { Redis } from 'ioredis'

export class RedisCounter {
  readonly #client: Redis

  private constructor (client: Redis) { this.#client = client }

  static async open (port: number): Promise<RedisCounter> {
    const client = new Redis({ port, host: '127.0.0.1', lazyConnect: true })
    await client.connect()
    return new RedisCounter(client)
  }

  /** Calls by command since Redis was started, of all its clients but this one: look at differences. What a script does counts as well. */
  async read (): Promise<Map<string, number>> {
    const text = await this.#client.info('commandstats')
    const counts = [...text.matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm)].map(([, name, calls]) => [String(name), Number(calls)] as const)
    return new Map(counts.filter(([name]) => name !== 'info'))
  }

  close (): void { this.#client.disconnect() }
}
