/** What a stopped server's store holds, row by row. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { ClassicLevel } from 'classic-level'
import { BSON, MongoClient } from 'mongodb'
import type { Server } from './server.ts'
import type { Database } from './store-choice.ts'

/** Rows in all, and the names of those that hold a text. */
export interface Rows { all: number, holding: string[] }

/** Counts the rows, or documents, of the server's store. The server must not run. */
export async function storeRows (server: Server, text: string): Promise<Rows> {
  return server.database === undefined ? await levelRows(server.data, text) : await mongodbRows(server.database, text)
}

async function levelRows (data: string, text: string): Promise<Rows> {
  const path = [data, join(data, 'store'), join(data, 'level'), join(data, 'db')].find(one => existsSync(join(one, 'CURRENT')))
  if (path === undefined) throw new Error(`no LevelDB in ${data}`)
  const level = new ClassicLevel<Buffer, Buffer>(path, { keyEncoding: 'buffer', valueEncoding: 'buffer', createIfMissing: false })
  const found: Rows = { all: 0, holding: [] }
  for await (const [key, value] of level.iterator()) {
    found.all++
    if (value.includes(text)) found.holding.push(key.toString('latin1'))
  }
  await level.close()
  return found
}

async function mongodbRows ({ url, database }: Database, text: string): Promise<Rows> {
  const client = new MongoClient(url)
  try {
    const found: Rows = { all: 0, holding: [] }
    for (const collection of await client.db(database).collections()) {
      for await (const document of collection.find()) {
        found.all++
        if (Buffer.from(BSON.serialize(document)).includes(text)) found.holding.push(`${collection.collectionName} ${String(document._id)}`)
      }
    }
    return found
  } finally {
    await client.close()
  }
}
