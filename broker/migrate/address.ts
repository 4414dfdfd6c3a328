/** Where a store is: `level:FOLDER`, `mongodb://HOST/DATABASE`, or `config`, the one of the configuration; `file:PATH` is an export. */
import { resolve } from 'node:path'
import { openLevelSource, openLevelTarget } from '../store/level/transfer.ts'
import { openMongoSource, openMongoTarget } from '../store/mongodb/transfer.ts'
import { TransferError } from '../store/transfer.ts'
import type { TransferSource, TransferTarget } from '../store/transfer.ts'
import { openArchiveSource } from './archive-source.ts'
import { ArchiveTarget } from './archive-target.ts'

export type StoreAddress = { driver: 'file', path: string } | { driver: 'level', path: string } | { driver: 'mongodb', url: string, database?: string }

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
  if (text.startsWith('file:') && text.length > 'file:'.length) return { driver: 'file', path: resolve(folder, text.slice('file:'.length)) }
  if (/^mongodb(\+srv)?:\/\/./.test(text)) return { driver: 'mongodb', url: text }
  throw new TransferError("expected level:FOLDER, mongodb://HOST/DATABASE, file:EXPORT or 'config'")
}

export async function openSource (address: StoreAddress): Promise<TransferSource> {
  if (address.driver === 'file') return await openArchiveSource(address.path)
  return address.driver === 'level' ? await openLevelSource(address.path) : await openMongoSource(address)
}

export async function openTarget (address: StoreAddress): Promise<TransferTarget> {
  if (address.driver === 'file') return new ArchiveTarget(address.path)
  return address.driver === 'level' ? await openLevelTarget(address.path) : await openMongoTarget(address)
}
