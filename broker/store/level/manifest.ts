/**
 * What LevelDB's manifest says of the files of a database.
 * Format: version_edit.cc of LevelDB, in records as those of its logs.
 */
import { existsSync } from 'node:fs'
import { readFile, readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { isCut, records } from './log-check.ts'

export interface Orphan { file: string, bytes: number }
/** The tables of the last version, and the oldest log that is not in them (0 before there is one). */
interface Version { tables: Set<number>, log: number }

/**
 * Tables that belong to no version of a database: what a compaction wrote before it failed. LevelDB keeps them until it is opened
 * the next time, and removes them only at the end of that, when it has found room for the tables of its logs. On a full disk they
 * are that room. While the database is open, tables that are just being written are among them.
 */
export async function orphans (path: string): Promise<Orphan[]> {
  const version = await readVersion(path)
  if (version === undefined) return []
  const found: Orphan[] = []
  for (const name of await readdir(path)) {
    const number = /^(\d+)\.(ldb|sst)$/.exec(name)?.[1]
    if (number === undefined || version.tables.has(Number(number))) continue
    try {
      found.push({ file: join(path, name), bytes: (await stat(join(path, name))).size })
    } catch (error) {
      // Compaction has just removed it.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    }
  }
  return found
}

/** Of a database that is closed. */
export async function removeOrphans (path: string): Promise<void> {
  for (const { file } of await orphans(path)) await rm(file, { force: true })
}

/** A file that the database cannot do without and that is not there. LevelDB itself misses tables, and no logs. */
export async function missingFile (path: string): Promise<string | undefined> {
  let version: Version | undefined
  try {
    version = await readVersion(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    return (error as NodeJS.ErrnoException).path
  }
  if (version === undefined || version.log === 0) return undefined
  const log = join(path, `${String(version.log).padStart(6, '0')}.log`)
  return existsSync(log) ? undefined : log
}

async function readVersion (path: string): Promise<Version | undefined> {
  const manifest = (await readFile(join(path, 'CURRENT'), 'utf8')).trim()
  return versionOf(await readFile(join(path, manifest)))
}

/**
 * The last version of a manifest; `undefined` when it is not understood, or damaged: tables that a record behind the damage names belong
 * to the database. A last record that was cut is normal.
 */
export function versionOf (manifest: Buffer): Version | undefined {
  const version: Version = { tables: new Set(), log: 0 }
  let edits = 0
  let whole = 0
  for (const { parts, end } of records(manifest)) {
    whole = end
    try {
      new Edit(Buffer.concat(parts)).apply(version)
    } catch (error) {
      if (!(error instanceof RangeError)) throw error
      return undefined
    }
    edits++
  }
  return edits === 0 || !isCut(manifest, whole) ? undefined : version
}

/** One record of a manifest. Throws `RangeError` for what it does not understand. */
class Edit {
  readonly #bytes: Buffer
  #at = 0
  constructor (bytes: Buffer) { this.#bytes = bytes }

  apply (version: Version): void {
    while (this.#at < this.#bytes.length) {
      const tag = this.#number()
      if (tag === 1) this.#skip() // comparator
      else if (tag === 2) version.log = this.#number()
      else if (tag === 3 || tag === 4 || tag === 9) this.#number() // numbers of files and rows
      else if (tag === 5) { // where a level's compaction stands
        this.#number()
        this.#skip()
      } else if (tag === 6) { // a table that is gone: level, number
        this.#number()
        version.tables.delete(this.#number())
      } else if (tag === 7) { // a new one: level, number, size, smallest and largest key
        this.#number()
        version.tables.add(this.#number())
        this.#number()
        this.#skip()
        this.#skip()
      } else {
        throw new RangeError(`an unknown tag: ${tag}`)
      }
    }
  }

  #number (): number {
    let value = 0
    for (let factor = 1; ; factor *= 128) {
      const byte = this.#bytes.readUInt8(this.#at++)
      value += (byte & 127) * factor
      if (byte < 128) return value
    }
  }

  #skip (): void {
    const length = this.#number()
    this.#at += length
    if (this.#at > this.#bytes.length) throw new RangeError('a text that does not end')
  }
}
