/** Kept chunks of one size, at most: what a busy turn needs, and little for a server at rest. */
const maxKept = 32

/**
 * Memory for output that is used again. Sizes that are not listed are the allocator's.
 *
 * Only memory that was allocated here is kept, and only once for each time it was taken: what `Buffer.allocUnsafe` gives is
 * a part of a slab that Node shares among all small buffers of the process, and a slab may have any size (8,192 bytes up to Node 22,
 * 65,536 in Node 24): neither a size nor an offset tells whose memory it is.
 */
export class Chunks {
  readonly #kept: ReadonlyMap<number, ArrayBuffer[]>
  /** What was taken and not given back. Weak: a chunk that never comes back is the collector's. */
  readonly #lent = new WeakSet<ArrayBufferLike>()

  constructor (sizes: readonly number[]) { this.#kept = new Map(sizes.map(size => [size, []])) }

  /** A chunk of `bytes` bytes, with anything in it. */
  take (bytes: number): Buffer {
    const kept = this.#kept.get(bytes)
    if (kept === undefined) return Buffer.allocUnsafe(bytes)
    const memory = kept.pop() ?? new ArrayBuffer(bytes)
    this.#lent.add(memory)
    return Buffer.from(memory)
  }

  /** Nobody reads or writes the chunk, or any part of it, any more. Memory that is not lent is left alone. */
  give (chunk: Buffer): void {
    const { buffer } = chunk
    const kept = this.#kept.get(buffer.byteLength)
    if (kept === undefined || !this.#lent.delete(buffer) || kept.length >= maxKept) return
    kept.push(buffer as ArrayBuffer)
  }
}
