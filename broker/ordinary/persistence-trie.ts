/** Trees over topic levels: filters that match a topic, and topics that match a filter. Empty levels are levels [MQTT-4.7.1-3]. */

interface FilterNode<V> { children: Map<string, FilterNode<V>>, values?: Map<string, V> }
interface TopicNode<V> { children: Map<string, TopicNode<V>>, value?: V }

// [MQTT-4.7.2-1]: a wildcard as first level does not match a topic that begins with '$'.
const isDollar = (topic: string) => topic.charCodeAt(0) === 36

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

/** Values by topic, found by filter. An exact filter costs one look-up. */
export class TopicTree<V> {
  #root: TopicNode<V> = { children: new Map() }
  readonly #exact = new Map<string, V>()

  get size (): number { return this.#exact.size }
  get (topic: string): V | undefined { return this.#exact.get(topic) }
  values (): IterableIterator<V> { return this.#exact.values() }

  set (topic: string, value: V): void {
    this.#exact.set(topic, value)
    let node = this.#root
    for (const level of topic.split('/')) {
      let child = node.children.get(level)
      if (child === undefined) node.children.set(level, child = { children: new Map() })
      node = child
    }
    node.value = value
  }

  delete (topic: string): void {
    if (!this.#exact.delete(topic)) return
    const levels = topic.split('/')
    const path = [this.#root]
    for (const level of levels) path.push(path[path.length - 1]?.children.get(level) as TopicNode<V>)
    delete (path[levels.length] as TopicNode<V>).value
    for (let i = levels.length; i > 0; i--) {
      const node = path[i] as TopicNode<V>
      if (node.children.size > 0 || node.value !== undefined) return
      path[i - 1]?.children.delete(levels[i - 1] as string)
    }
  }

  * match (filter: string): Generator<V> {
    if (!filter.includes('+') && !filter.includes('#')) {
      const value = this.#exact.get(filter)
      if (value !== undefined) yield value
      return
    }
    yield * this.#walk(this.#root, filter.split('/'), 0)
  }

  * #walk (node: TopicNode<V>, levels: string[], depth: number): Generator<V> {
    const level = levels[depth]
    if (level === undefined) {
      if (node.value !== undefined) yield node.value
      return
    }
    if (level === '#') {
      yield * this.#all(node, depth === 0)
      return
    }
    if (level !== '+') {
      const child = node.children.get(level)
      if (child !== undefined) yield * this.#walk(child, levels, depth + 1)
      return
    }
    for (const [name, child] of node.children) {
      if (depth === 0 && isDollar(name)) continue
      yield * this.#walk(child, levels, depth + 1)
    }
  }

  * #all (node: TopicNode<V>, first: boolean): Generator<V> {
    if (node.value !== undefined) yield node.value
    for (const [name, child] of node.children) {
      if (first && isDollar(name)) continue
      yield * this.#all(child, false)
    }
  }
}
