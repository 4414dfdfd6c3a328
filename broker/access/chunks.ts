/** Kept chunks of one size, at most: what a busy turn needs, and little for a server at rest. */
const maxKept = 32

/** Memory for output that is used again. Sizes that are not listed are the allocator's. */
export class Chunks {
  readonly #kept: ReadonlyMap<number, ArrayBuffer[]>

  constructor (sizes: readonly number[]) { this.#kept = new Map(sizes.map(size => [size, []])) }

  /** A chunk of `bytes` bytes, with anything in it. */
  take (bytes: number): Buffer {
    const kept = this.#kept.get(bytes)
    if (kept === undefined) return Buffer.allocUnsafe(bytes)
    return Buffer.from(kept.pop() ?? new ArrayBuffer(bytes))
  }

  /** Nobody reads or writes the chunk, or the part of it, any more. */
  give (chunk: Buffer): void {
    const { buffer } = chunk
    const kept = this.#kept.get(buffer.byteLength)
    if (kept !== undefined && kept.length < maxKept && chunk.byteOffset === 0 && buffer instanceof ArrayBuffer) kept.push(buffer)
  }
}
