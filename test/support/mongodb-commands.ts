/** How many commands a MongoDB-speaking server has answered, by its own count (`serverStatus`): the server under test pays nothing for it. */
import { MongoClient } from 'mongodb'

/** Commands that read or write documents. The rest is the driver's own (`hello`), or this counter's. */
const reading = ['find', 'getMore', 'aggregate']
const writing = ['insert', 'update', 'delete', 'findAndModify']

export interface Commands { reads: number, writes: number, inserts: number }

export class CommandCounter {
  readonly #client: MongoClient
  readonly #database: string

  private constructor (client: MongoClient, database: string) {
    this.#client = client
    this.#database = database
  }

  static async open (url: string, database: string): Promise<CommandCounter> {
    const client = new MongoClient(url, { appName: 'sabethes-counter', serverSelectionTimeoutMS: 30_000 })
    try {
      await client.connect()
    } catch (error) {
      await client.close()
      throw error
    }
    return new CommandCounter(client, database)
  }

  /** Since the server was started, of all its clients: look at differences, and let nobody else use it. */
  async read (): Promise<Commands> {
    const status = await this.#client.db('admin').command({ serverStatus: 1 })
    const counts = (status['metrics'] as { commands?: Record<string, { total?: unknown } | undefined> } | undefined)?.commands
    if (counts === undefined) throw new Error('the server does not count its commands')
    const sum = (names: readonly string[]): number => names.reduce((total, name) => total + Number(counts[name]?.total ?? 0), 0)
    return { reads: sum(reading), writes: sum(writing), inserts: sum(['insert']) }
  }

  /** Documents in a collection. */
  async documents (collection: string): Promise<number> { return await this.#client.db(this.#database).collection(collection).estimatedDocumentCount() }

  async drop (): Promise<void> { await this.#client.db(this.#database).dropDatabase() }
  async close (): Promise<void> { await this.#client.close() }
}
