/** What a synced write costs where the brokers keep their data: a durable rate means little without it. */
import { closeSync, fdatasyncSync, mkdtempSync, openSync, rmSync, statfsSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { median } from './meter.ts'

const tmpfsMagic = 0x01021994
const samples = 50

export interface Disk { folder: string, inMemory: boolean, syncMs: number }

/** Median of 50 synced writes of 4 kB in the temporary folder (`TMPDIR` moves it). */
export function probeDisk (): Disk {
  const folder = mkdtempSync(join(tmpdir(), 'sabethes-bench-'))
  try {
    const file = openSync(join(folder, 'probe'), 'w')
    const block = Buffer.alloc(4096, 'x')
    const times: number[] = []
    for (let sample = 0; sample < samples; sample++) {
      const from = performance.now()
      writeSync(file, block)
      fdatasyncSync(file)
      times.push(performance.now() - from)
    }
    closeSync(file)
    return { folder: tmpdir(), inMemory: statfsSync(folder).type === tmpfsMagic, syncMs: median(times) }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
