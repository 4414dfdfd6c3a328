/** The lines of a file, packed (gzip, also in several members) or not. */
import { createReadStream } from 'node:fs'
import { open } from 'node:fs/promises'
import { pipeline } from 'node:stream/promises'
import { PassThrough } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { TransferError } from '../store/transfer.ts'

/** Characters that a line may have: a message of the largest size, with room. */
const mostCharacters = 64 * 1024 * 1024
const chunkBytes = 256 * 1024

export interface Line { text: string, number: number }

/** True for what begins as gzip does (RFC 1952, section 2.3.1). */
async function isPacked (path: string): Promise<boolean> {
  const file = await open(path, 'r').catch((cause: Error) => { throw new TransferError(`'${path}' cannot be read: ${cause.message}`, { cause }) })
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(2), 0, 2, 0)
    return bytesRead === 2 && buffer[0] === 0x1f && buffer[1] === 0x8b
  } finally {
    await file.close()
  }
}

/** Each line, without its end. Throws `TransferError` where the file is damaged or cut short; `bytes`: how many of the file are read. */
export async function * linesOf (path: string, bytes?: number): AsyncGenerator<Line, void> {
  if (bytes === 0) return
  const packed = await isPacked(path)
  const raw = createReadStream(path, { highWaterMark: chunkBytes, ...bytes !== undefined && { end: bytes - 1 } })
  const text = new PassThrough({ encoding: 'utf8', highWaterMark: chunkBytes })
  const through = packed ? pipeline(raw, createGunzip({ chunkSize: chunkBytes }), text) : pipeline(raw, text)
  // Whoever reads is told; who has left does not need to be.
  through.catch(() => {})
  let rest = ''
  let number = 0
  try {
    for await (const piece of text as AsyncIterable<string>) {
      const parts = (rest + piece).split('\n')
      rest = parts.pop() ?? ''
      if (rest.length > mostCharacters) throw new TransferError(`line ${number + parts.length + 1} of '${path}' is too long`)
      for (const part of parts) yield { text: part, number: ++number }
    }
    await through
  } catch (error) {
    if (error instanceof TransferError) throw error
    throw new TransferError(`'${path}' is damaged or cut short behind line ${number}: ${(error as Error).message}`, { cause: error })
  } finally {
    text.destroy()
    raw.destroy()
  }
  if (rest !== '') throw new TransferError(`'${path}' is cut short in line ${number + 1}`)
}
