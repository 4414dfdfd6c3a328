/** Where a store is: `level:FOLDER`, `mongodb://HOST/DATABASE`, or `config`, the one of the configuration. */
import { resolve } from 'node:path'
import { openLevelSource, openLevelTarget } from '../store/level/transfer.ts'
import { openMongoSource, openMongoTarget } from '../store/mongodb/transfer.ts'
import { TransferError } from '../store/transfer.ts'
import type { TransferSource, TransferTarget } from '../store/transfer.ts'

export type StoreAddress = { driver: 'level', path: string } | { driver: 'mongodb', url: string, database?: string }

/** What the configuration says about the store. */
export interface ConfiguredStore { driver: string, path: string, url?: string | undefined, database?: string | undefined }

/** `folder` is the one that relative paths start from. Throws `TransferError` with an address that is none; it may hold a password and is not shown. */
export function parseAddress (text: string, configured: ConfiguredStore, folder: string): StoreAddress {
  if (text === 'config') {
    const { driver, path, url, database } = configured
    if (driver === 'level') return { driver, path: resolve(folder, path) }
    if (url === undefined) throw new TransferError('store.url is not set')
    return { driver: 'mongodb', url, ...(database === undefined ? {} : { database }) }
  }
  if (text.startsWith('level:') && text.length > 'level:'.length) return { driver: 'level', path: resolve(folder, text.slice('level:'.length)) }
  if (/^mongodb(\+srv)?:\/\/./.test(text)) return { driver: 'mongodb', url: text }
  throw new TransferError("expected level:FOLDER, mongodb://HOST/DATABASE or 'config'")
}

export async function openSource (address: StoreAddress): Promise<TransferSource> {
  return address.driver === 'level' ? await openLevelSource(address.path) : await openMongoSource(address)
}

export async function openTarget (address: StoreAddress): Promise<TransferTarget> {
  return address.driver === 'level' ? await openLevelTarget(address.path) : await openMongoTarget(address)
}
