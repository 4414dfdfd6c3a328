/** "Did you mean": the nearest of the names that exist. */

/** Edits (insert, delete, replace, swap of neighbours) that turn `a` into `b`; case does not count. */
export function editDistance (a: string, b: string): number {
  a = a.toLowerCase()
  b = b.toLowerCase()
  let before: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, at) => at)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1]
      let cost = Math.min((last[j] as number) + 1, (row[j - 1] as number) + 1, (last[j - 1] as number) + (same ? 0 : 1))
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) cost = Math.min(cost, (before[j - 2] as number) + 1)
      row.push(cost)
    }
    before = last
    last = row
  }
  return last[b.length] as number
}

/** The candidate nearest to `name`, unless all are too different (more than a third of its letters). */
export function suggest (name: string, candidates: Iterable<string>): string | undefined {
  const short = name.slice(0, 128)
  let best: string | undefined
  let bestDistance = Math.max(2, Math.floor(short.length / 3)) + 1
  for (const candidate of candidates) {
    const distance = editDistance(short, candidate)
    if (distance < bestDistance) {
      best = candidate
      bestDistance = distance
    }
  }
  return best
}
