/**
 * Moves the content of one store into another, empty one. After each page the target keeps how far it has come, so that an
 * interrupted migration goes on where it stopped when it is started again. At the end both stores are read and compared;
 * only then does the target become a store.
 */
import { TransferError, transferKinds } from '../store/transfer.ts'
import type { Checkpoint, TransferKind, TransferSource, TransferTarget } from '../store/transfer.ts'
import { differences, digestStore } from './digest.ts'
import type { KindDigest } from './digest.ts'

export type MigrationStep = 'copy' | 'check the source' | 'check the target'
/** `rows` of `total` (when it is known) of this step. */
export type MigrationProgress = (step: MigrationStep, rows: number, total: number | undefined) => void

export interface MigrationReport {
  /** True when it went on with what an interrupted one had copied. */
  resumed: boolean
  /** Rows that this run copied. */
  copied: number
  kinds: Record<TransferKind, KindDigest>
}

/** Throws `TransferError` when the target holds anything else, or is not equal in the end. */
export async function migrate (source: TransferSource, target: TransferTarget, progress: MigrationProgress = () => {}): Promise<MigrationReport> {
  if (source.identity === target.identity) throw new TransferError('source and target are the same store')
  const found = await target.checkpoint()
  if (found !== undefined && found.source !== source.identity) {
    throw new TransferError(`${target.identity} holds an unfinished migration from ${found.source}: finish that one, or empty it`)
  }
  await source.prepare()
  const total = await source.estimate()
  let checkpoint: Checkpoint = found ?? { source: source.identity, kind: transferKinds[0] as TransferKind, rows: 0 }
  if (found === undefined) await target.begin(checkpoint)
  const before = checkpoint.rows
  for (const kind of transferKinds.slice(transferKinds.indexOf(checkpoint.kind))) {
    const at = kind === checkpoint.kind ? checkpoint.at : undefined
    for await (const page of source.read(kind, at)) {
      checkpoint = { source: source.identity, kind, at: page.at, rows: checkpoint.rows + page.rows.length }
      await target.write(kind, page.rows, checkpoint)
      progress('copy', checkpoint.rows, total)
    }
  }
  const wanted = await digestStore(source, rows => { progress('check the source', rows, checkpoint.rows) })
  const got = await digestStore(target, rows => { progress('check the target', rows, checkpoint.rows) })
  const differing = differences(wanted, got)
  if (differing.length > 0) {
    const kinds = differing.map(kind => `${kind} (${wanted.get(kind)?.rows} rows, ${got.get(kind)?.rows} in the target)`).join(', ')
    throw new TransferError(`the target is not equal to the source: ${kinds}. Was the source in use? The target stays unusable: empty it and start again`)
  }
  await target.finish()
  return { resumed: found !== undefined, copied: checkpoint.rows - before, kinds: Object.fromEntries(got) as Record<TransferKind, KindDigest> }
}
