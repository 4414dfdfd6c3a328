/** Numbers and sums of rows, by kind: equal for stores with equal content, in whatever order they keep it. */
import { createHash } from 'node:crypto'
import { transferKinds } from '../store/transfer.ts'
import type { TransferKind, TransferSource, TransferTarget } from '../store/transfer.ts'

/** `sum` is the sum of the rows' SHA-256 (their first 128 bits), modulo 2^128, in hexadecimal. */
export interface KindDigest { rows: number, sum: string }
export type StoreDigest = Map<TransferKind, KindDigest>

/** Reads a whole store; `progress` counts rows. */
export async function digestStore (store: Pick<TransferSource | TransferTarget, 'read'>, progress: (rows: number) => void): Promise<StoreDigest> {
  const digest: StoreDigest = new Map()
  let done = 0
  for (const kind of transferKinds) {
    let [rows, sum] = [0, 0n]
    for await (const page of store.read(kind)) {
      for (const row of page.rows) sum += rowHash(row)
      rows += page.rows.length
      done += page.rows.length
      progress(done)
    }
    digest.set(kind, { rows, sum: BigInt.asUintN(128, sum).toString(16).padStart(32, '0') })
  }
  return digest
}

/** The kinds in which two stores differ. */
export function differences (one: StoreDigest, other: StoreDigest): TransferKind[] {
  return transferKinds.filter(kind => {
    const [a, b] = [one.get(kind), other.get(kind)]
    return a?.rows !== b?.rows || a?.sum !== b?.sum
  })
}

function rowHash (row: object): bigint {
  const hash = createHash('sha256').update(canonical(row)).digest()
  return (hash.readBigUInt64BE(0) << 64n) | hash.readBigUInt64BE(8)
}

/** JSON with the members in order; bytes as base64. */
export function canonical (value: unknown): string {
  if (value instanceof Uint8Array) return JSON.stringify({ bytes: Buffer.from(value).toString('base64') })
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null'
  const members = Object.entries(value).filter(([, member]) => member !== undefined)
  return `{${members.sort(([a], [b]) => a < b ? -1 : 1).map(([name, member]) => `${JSON.stringify(name)}:${canonical(member)}`).join()}}`
}
