/** Numbers and sums of rows, by kind: equal for stores with equal content, in whatever order they keep it. */
import { createHash } from 'node:crypto'
import { transferKinds } from '../store/transfer.ts'
import type { TransferKind, TransferSource, TransferTarget } from '../store/transfer.ts'

/** `sum` is the sum of the rows' SHA-256 (their first 128 bits), modulo 2^128, in hexadecimal. */
export interface KindDigest { rows: number, sum: string }
export type StoreDigest = Map<TransferKind, KindDigest>

/** Of rows as they pass by. */
export class RunningDigest {
  readonly #kinds: Map<TransferKind, { rows: number, sum: bigint }>

  /** Goes on from what another one had. */
  constructor (before: Partial<Record<TransferKind, KindDigest>> = {}) {
    this.#kinds = new Map(transferKinds.map(kind => [kind, { rows: before[kind]?.rows ?? 0, sum: BigInt(`0x${before[kind]?.sum ?? '0'}`) }]))
  }

  add (kind: TransferKind, row: object): void {
    const sums = this.#kinds.get(kind) as { rows: number, sum: bigint }
    sums.rows++
    sums.sum = BigInt.asUintN(128, sums.sum + rowHash(row))
  }

  result (): Record<TransferKind, KindDigest> {
    return Object.fromEntries([...this.#kinds].map(([kind, { rows, sum }]) => [kind, { rows, sum: sum.toString(16).padStart(32, '0') }])) as Record<TransferKind, KindDigest>
  }
}

/** Reads a whole store; `progress` counts rows. */
export async function digestStore (store: Pick<TransferSource | TransferTarget, 'read'>, progress: (rows: number) => void): Promise<StoreDigest> {
  const digest = new RunningDigest()
  let done = 0
  for (const kind of transferKinds) {
    for await (const page of store.read(kind)) {
      for (const row of page.rows) digest.add(kind, row)
      done += page.rows.length
      progress(done)
    }
  }
  return new Map(Object.entries(digest.result()) as Array<[TransferKind, KindDigest]>)
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
