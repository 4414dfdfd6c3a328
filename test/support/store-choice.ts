/** How the full servers of a test file are made. `SABETHES_TEST_STORE`: the store that the full servers of a test file run on, `level` (the default) or `mongodb`. */
import { merge } from './configs.ts'

export type StoreChoice = 'level' | 'mongodb'

export const storeChoice: StoreChoice = chosen(process.env.SABETHES_TEST_STORE)

/** `SABETHES_TEST_THREAD=1`: the full servers of a test file have engine and store in a thread of their own. */
export const inThread = process.env.SABETHES_TEST_THREAD === '1'

function chosen (text: string | undefined): StoreChoice {
  if (text === undefined || text === '') return 'level'
  if (text !== 'level' && text !== 'mongodb') throw new Error(`SABETHES_TEST_STORE is level or mongodb, not '${text}'`)
  return text
}

/**
 * A size for each store. FerretDB, which tests find most often, reads a whole collection for nearly every query; a test that fills
 * one takes fewer rows there, and asserts the same.
 */
export function sized<T> (sizes: Readonly<Record<StoreChoice, T>>): T { return sizes[storeChoice] }

/** A database of MongoDB that a server under test runs on. */
export interface Database { url: string, database: string }

/** The configuration with the database in it, unless it names a store by itself. */
export function onDatabase (config: Record<string, unknown>, { url, database }: Database): Record<string, unknown> {
  return merge({ store: { driver: 'mongodb', url, database } }, config)
}

/** The database that a configuration names. */
export function databaseOf (config: Record<string, unknown>): Database | undefined {
  const { driver, url = '', database = '' } = (config['store'] ?? {}) as { driver?: string, url?: string, database?: string }
  return driver === 'mongodb' ? { url, database } : undefined
}
