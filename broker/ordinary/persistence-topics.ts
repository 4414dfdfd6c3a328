/** A tree over topic levels: topics that match a filter. Empty levels are levels [MQTT-4.7.1-3]. */
import { isDollar } from './persistence-trie.ts'

/** One level of a million topics: no more than it needs. Most have one child, or none. */
class TopicNode<V> {
  value: V | undefined = undefined
  #level = ''
  #only: TopicNode<V> | undefined = undefined
  #more: Map<string, TopicNode<V>> | undefined = undefined

  get empty (): boolean { return this.value === undefined && this.#only === undefined && this.#more === undefined }

  get (level: string): TopicNode<V> | undefined {
    if (this.#more !== undefined) return this.#more.get(level)
    return this.#level === level ? this.#only : undefined
  }

  add (level: string): TopicNode<V> {
    const node = new TopicNode<V>()
    if (this.#more !== undefined) {
      this.#more.set(level, node)
    } else if (this.#only === undefined) {
      this.#level = level
      this.#only = node
    } else {
      this.#more = new Map([[this.#level, this.#only], [level, node]])
      this.#only = undefined
    }
    return node
  }

  remove (level: string): void {
    if (this.#more === undefined) this.#only = undefined
    else if (this.#more.delete(level) && this.#more.size === 0) this.#more = undefined
  }

  children (): Iterator<[string, TopicNode<V>]> {
    if (this.#more !== undefined) return this.#more.entries()
    return (this.#only === undefined ? [] : [[this.#level, this.#only] as [string, TopicNode<V>]]).values()
  }
}

/** Children that are still to be looked at, and what of the filter is behind them. */
interface Walk<V> { children: Iterator<[string, TopicNode<V>]>, topic: string, /** levels of the topic */ depth: number, /** under a '#' */ all: boolean }

/** Values by topic, found by filter. A filter costs what it matches and what its '+' passes over, not what else there is. */
export class TopicTree<V> {
  #root = new TopicNode<V>()
  #size = 0

  get size (): number { return this.#size }
  get (topic: string): V | undefined { return this.#find(topic.split('/'))?.value }

  /** Returns what was there before. */
  set (topic: string, value: V): V | undefined {
    let node = this.#root
    for (const level of topic.split('/')) node = node.get(level) ?? node.add(level)
    const before = node.value
    if (before === undefined) this.#size++
    node.value = value
    return before
  }

  delete (topic: string): void {
    const levels = topic.split('/')
    const path = [this.#root]
    for (const level of levels) {
      const child = path[path.length - 1]?.get(level)
      if (child === undefined) return
      path.push(child)
    }
    const last = path[levels.length] as TopicNode<V>
    if (last.value === undefined) return
    last.value = undefined
    this.#size--
    for (let i = levels.length; i > 0 && path[i]?.empty === true; i--) path[i - 1]?.remove(levels[i - 1] as string)
  }

  #find (levels: readonly string[]): TopicNode<V> | undefined {
    let node: TopicNode<V> | undefined = this.#root
    for (const level of levels) node = node?.get(level)
    return node
  }

  /** Topics that match, with their values, as they are when their turn comes. The tree may change between two of them. */
  * match (filter: string): Generator<[topic: string, value: V]> {
    const levels = filter.split('/')
    const walks: Array<Walk<V>> = []
    const first = this.#enter(this.#root, '', 0, levels, walks)
    if (first !== undefined) yield first
    for (let walk = walks.at(-1); walk !== undefined; walk = walks.at(-1)) {
      const { done, value } = walk.children.next()
      if (done === true) {
        walks.pop()
        continue
      }
      const [level, node] = value
      if (walk.depth === 0 && isDollar(level)) continue
      const topic = joined(walk.topic, walk.depth, level)
      if (walk.all) {
        walks.push({ children: node.children(), topic, depth: walk.depth + 1, all: true })
        if (node.value !== undefined) yield [topic, node.value]
      } else {
        const found = this.#enter(node, topic, walk.depth + 1, levels, walks)
        if (found !== undefined) yield found
      }
    }
  }

  /** Goes down the literal levels of a filter from a node; what a wildcard leads to is put on `walks`. Returns what matches on the way. */
  #enter (from: TopicNode<V>, at: string, depth: number, levels: readonly string[], walks: Array<Walk<V>>): [string, V] | undefined {
    let [node, topic]: [TopicNode<V> | undefined, string] = [from, at]
    for (; depth < levels.length; depth++) {
      const level = levels[depth] as string
      if (level === '+' || level === '#') {
        walks.push({ children: node.children(), topic, depth, all: level === '#' })
        if (level === '+') return undefined
        break
      }
      node = node.get(level)
      if (node === undefined) return undefined
      topic = joined(topic, depth, level)
    }
    return node.value === undefined ? undefined : [topic, node.value]
  }
}

function joined (topic: string, depth: number, level: string): string { return depth === 0 ? level : `${topic}/${level}` }
