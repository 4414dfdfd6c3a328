/** What `sabethes doctor` asks a MongoDB server. Nothing is changed but one document, which is removed again. */
import { MongoClient } from 'mongodb'
import type { Db } from 'mongodb'
import { durable, databaseName } from './connection.ts'
import { indexes } from './indexes.ts'
import { formatVersion } from './store.ts'

export interface Finding { name: string, ok: boolean, text: string }

const timeoutMs = 5000
/** Times of messages come from the clocks of the servers; more than this between two is noticed by people. */
const maxClockDifferenceMs = 5000
const oldestMajor = 5

/** Findings in the order of the questions; the first that is not ok may leave out what depends on it. Texts hold no URL. */
export async function inspectMongo ({ url, database }: { url: string, database?: string | undefined }): Promise<Finding[]> {
  let client: MongoClient
  try {
    client = new MongoClient(url, { appName: 'sabethes-doctor', serverSelectionTimeoutMS: timeoutMs, connectTimeoutMS: timeoutMs, socketTimeoutMS: timeoutMs })
  } catch (error) {
    return [{ name: 'mongodb address', ok: false, text: `store.url is no address of MongoDB: ${(error as Error).message}` }]
  }
  const findings: Finding[] = []
  const add = async (name: string, ask: () => Promise<{ ok: boolean, text: string }>): Promise<boolean> => {
    let finding: Finding
    try {
      finding = { name, ...await ask() }
    } catch (error) {
      finding = { name, ok: false, text: (error as Error).message }
    }
    findings.push(finding)
    return finding.ok
  }
  try {
    const db = client.db(databaseName(url, database))
    if (!await add('mongodb reachable', async () => {
      await client.connect()
      const hello = await db.command({ hello: 1 })
      const primary = hello['isWritablePrimary'] === true
      const set = typeof hello['setName'] === 'string' ? `replica set ${hello['setName']}` : hello['msg'] === 'isdbgrid' ? 'sharded' : 'standalone: one server, no replica'
      return { ok: primary, text: primary ? set : 'it is not the primary: writes would be refused' }
    })) return findings
    await add('mongodb version', async () => await version(db))
    await add('mongodb format', async () => {
      const found = await db.collection<{ _id: string, version: number }>('meta').findOne({ _id: 'format' })
      if (found === null) return { ok: true, text: 'new: the database holds no store yet' }
      if (found.version === 0) return { ok: false, text: 'an unfinished migration: run sabethes migrate again' }
      return { ok: found.version === formatVersion, text: `version ${found.version}${found.version === formatVersion ? '' : `, this program knows ${formatVersion}`}` }
    })
    await add('mongodb indexes', async () => await indexState(db))
    await add('mongodb write concern', async () => await writes(db))
    await add('mongodb clock', async () => {
      const before = Date.now()
      const { localTime } = await db.command({ hello: 1 })
      const differenceMs = Math.round((localTime as Date).getTime() - (before + Date.now()) / 2)
      return { ok: Math.abs(differenceMs) <= maxClockDifferenceMs, text: `${differenceMs} ms from this machine's` }
    })
    return findings
  } finally {
    await client.close()
  }
}

async function version (db: Db): Promise<{ ok: boolean, text: string }> {
  const info = await db.command({ buildInfo: 1 })
  const text = String(info['version'])
  const ferret = 'ferretdbVersion' in info ? ' (FerretDB: for tests only)' : ''
  return { ok: Number.parseInt(text, 10) >= oldestMajor, text: text + ferret }
}

async function indexState (db: Db): Promise<{ ok: boolean, text: string }> {
  const present = new Set((await db.listCollections({}, { nameOnly: true }).toArray()).map(({ name }) => name))
  if (!Object.keys(indexes).some(name => present.has(name))) return { ok: true, text: 'none yet: they are made at the first start' }
  const wrong: string[] = []
  let count = 0
  for (const [collection, wanted] of Object.entries(indexes)) {
    const found = present.has(collection) ? await db.collection(collection).indexes() : []
    for (const { name, key, unique = false } of wanted) {
      count++
      const same = found.find(index => index.name === name)
      if (same === undefined || JSON.stringify(same.key) !== JSON.stringify(key) || (same['unique'] === true) !== unique) wrong.push(`${collection}.${name}`)
    }
  }
  return wrong.length === 0
    ? { ok: true, text: `all ${count}` }
    : { ok: false, text: `missing or different: ${wrong.join(', ')}; sabethes migrate --to config makes those that are missing` }
}

/** A write as a message is stored: on the disk of the majority. */
async function writes (db: Db): Promise<{ ok: boolean, text: string }> {
  const meta = db.collection<{ _id: string }>('meta')
  const _id = `doctor ${process.pid} ${Date.now()}`
  const began = performance.now()
  await meta.insertOne({ _id }, { writeConcern: { ...durable, wtimeoutMS: timeoutMs } })
  const tookMs = performance.now() - began
  await meta.deleteOne({ _id })
  return { ok: true, text: `majority, journaled: confirmed in ${tookMs.toFixed(1)} ms` }
}
