/** Permission for ordinary topics (those outside the chat tree): default deny, opened by `mqtt.openTopics`. */

/** Which ordinary topics may be used. Any one of the open filters is enough; `$SYS` is never open. */
export class OpenTopics {
  readonly #filters: string[][]
  readonly #prefix: string

  /**
   * @param filters topic filters as in `mqtt.openTopics`; `$`-topics are open only where a filter names their first level
   * @param prefix first level of the chat tree: never open, whatever the filters say
   * @throws RangeError for a filter that MQTT does not allow (4.7.1), an empty one, or a shared one
   */
  constructor (filters: readonly string[], prefix: string) {
    for (const filter of filters) {
      if (!isFilter(filter) || filter.startsWith('$share/')) throw new RangeError(`not a usable topic filter: '${filter}'`)
    }
    this.#filters = filters.map(filter => filter.split('/'))
    this.#prefix = prefix
  }

  /** True when `topic` may be published to: it matches an open filter and is neither chat nor `$SYS`. */
  mayPublish (topic: string): boolean {
    if (topic === '' || topic.includes('+') || topic.includes('#')) return false
    return this.#covers(topic)
  }

  /**
   * True when every topic that `filter` matches is covered by one open filter. `#` and `+/…` match no `$`-topic
   * [MQTT-4.7.2-1], and the chat tree never passes here, so an open `#` allows them. Shared filters are refused.
   */
  maySubscribe (filter: string): boolean {
    return isFilter(filter) && this.#covers(filter)
  }

  #covers (text: string): boolean {
    const levels = text.split('/')
    const first = levels[0] as string
    if (first === '$SYS' || first === '$share') return false
    // The prefix may have levels of its own.
    if (text === this.#prefix || text.startsWith(this.#prefix + '/')) return false
    return this.#filters.some(open => contains(open, levels))
  }
}

/**
 * True when every topic matched by `inner` is matched by `outer`. A topic is a filter without wildcards, so this is also the
 * matching of a topic. 4.7.1.2: `a/#` matches `a` too.
 */
export function contains (outer: readonly string[], inner: readonly string[]): boolean {
  inner = spelledOut(inner)
  // [MQTT-4.7.2-1]: a wildcard in front does not cover a '$' first level, and stands for none.
  if (inner[0]?.startsWith('$') === true && (outer[0] === '#' || outer[0] === '+')) return false
  for (let i = 0; ; i++) {
    const out = outer[i]
    const level = inner[i]
    if (out === '#') return true
    if (level === undefined) return out === undefined
    if (out === undefined || !covers(out, level)) return false
  }
}

/** A level of a filter covers one of another; neither is the outer one's '#'. */
function covers (out: string, level: string): boolean {
  if (level === '#') return false
  return out === '+' || out === level
}

/** A filter with the levels that its '#' leaves open but cannot be without. */
function spelledOut (filter: readonly string[]): readonly string[] {
  // Every topic has a first level: '#' alone is '+/#'.
  if (filter[0] === '#') return ['+', '#']
  // '/#' stands for no parent: the empty topic is none [MQTT-4.7.3-1].
  if (filter.length === 2 && filter[0] === '' && filter[1] === '#') return ['', '+', '#']
  return filter
}

/** [MQTT-4.7.1-1] to [MQTT-4.7.3-2]: wildcards stand alone in a level, `#` is the last one, no U+0000, not empty. */
function isFilter (filter: string): boolean {
  if (filter === '' || filter.includes('\u0000')) return false
  const levels = filter.split('/')
  return levels.every((level, i) => level === '+' || (level === '#' ? i === levels.length - 1 : !level.includes('+') && !level.includes('#')))
}
