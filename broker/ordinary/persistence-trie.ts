/** A tree over topic levels: filters that match a topic. Empty levels are levels [MQTT-4.7.1-3]. */

interface FilterNode<V> { children: Map<string, FilterNode<V>>, values?: Map<string, V> }

// [MQTT-4.7.2-1]: a wildcard as first level does not match a topic that begins with '$'.
export const isDollar = (topic: string) => topic.charCodeAt(0) === 36

/** Values under (filter, key), found by topic. */
export class FilterTree<V> {
  #root: FilterNode<V> = { children: new Map() }
  #size = 0

  /** How many (filter, key) pairs there are. */
  get size (): number { return this.#size }

  set (filter: string, key: string, value: V): void {
    let node = this.#root
    for (const level of filter.split('/')) {
      let child = node.children.get(level)
      if (child === undefined) node.children.set(level, child = { children: new Map() })
      node = child
    }
    node.values ??= new Map()
    if (!node.values.has(key)) this.#size++
    node.values.set(key, value)
  }

  delete (filter: string, key: string): void {
    const levels = filter.split('/')
    const path = [this.#root]
    for (const level of levels) {
      const child = path[path.length - 1]?.children.get(level)
      if (child === undefined) return
      path.push(child)
    }
    if (path[path.length - 1]?.values?.delete(key) === true) this.#size--
    for (let i = levels.length; i > 0; i--) {
      const node = path[i] as FilterNode<V>
      if (node.children.size > 0 || (node.values !== undefined && node.values.size > 0)) return
      path[i - 1]?.children.delete(levels[i - 1] as string)
    }
  }

  /** Values of all filters that match `topic`; those of '#' filters first. */
  match (topic: string): V[] {
    const found: V[] = []
    const take = (node: FilterNode<V> | undefined) => { if (node?.values !== undefined) found.push(...node.values.values()) }
    let nodes = [this.#root]
    const levels = topic.split('/')
    for (const [depth, level] of levels.entries()) {
      const next: Array<FilterNode<V>> = []
      const wild = depth > 0 || !isDollar(topic)
      for (const node of nodes) {
        if (wild) take(node.children.get('#'))
        const exact = node.children.get(level)
        if (exact !== undefined) next.push(exact)
        const one = wild ? node.children.get('+') : undefined
        if (one !== undefined) next.push(one)
      }
      if (next.length === 0) return found
      nodes = next
    }
    // 'a/#' matches 'a' too (4.7.1.2).
    for (const node of nodes) take(node.children.get('#'))
    for (const node of nodes) take(node)
    return found
  }
}
