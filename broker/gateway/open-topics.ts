/** Permission for ordinary topics (those outside the chat tree): default deny, opened by `mqtt.openTopics`. */

/** Whom a rule lets: user names, or all, or none. */
export type Whom = 'everybody' | 'nobody' | readonly string[]

/** An entry of `mqtt.openTopics`; a filter by itself is for everybody, both ways. */
export interface OpenTopicRule {
  /** A topic filter; `{user}` and `{clientId}` in it stand for those of the connection. `$`-topics are open only where a filter names their first level. */
  filter: string
  read?: Whom | undefined
  write?: Whom | undefined
}

/** What one connection may do with ordinary topics. */
export class TopicRights {
  readonly #read: readonly string[][]
  readonly #write: readonly string[][]
  readonly #prefix: string

  constructor (read: readonly string[][], write: readonly string[][], prefix: string) {
    this.#read = read
    this.#write = write
    this.#prefix = prefix
  }

  /** True when `topic` may be published to: it matches a filter that is open for writing, and is neither chat nor `$SYS`. */
  mayPublish (topic: string): boolean { return isTopic(topic) && this.#covers(this.#write, topic) }

  /** True when messages of `topic` may be read; for what was stored when more was open. */
  mayRead (topic: string): boolean { return isTopic(topic) && this.#covers(this.#read, topic) }

  /**
   * True when every topic that `filter` matches is covered by one filter that is open for reading. `#` and `+/…` match no `$`-topic
   * [MQTT-4.7.2-1], and the chat tree never passes here, so an open `#` allows them. Shared filters are refused: what is asked is whether
   * the filter inside may be read.
   */
  maySubscribe (filter: string): boolean { return isFilter(filter) && this.#covers(this.#read, filter) }

  #covers (filters: readonly string[][], text: string): boolean {
    const levels = text.split('/')
    const first = levels[0] as string
    if (first === '$SYS' || first === '$share') return false
    // The prefix may have levels of its own.
    if (text === this.#prefix || text.startsWith(this.#prefix + '/')) return false
    return filters.some(open => contains(open, levels))
  }
}

/** Which ordinary topics may be used, and by whom. Any one of the rules is enough; `$SYS` is never open. */
export class OpenTopics {
  readonly #rules: readonly OpenTopicRule[]
  readonly #prefix: string
  /** Of every connection, when no rule asks who it is. */
  readonly #common: TopicRights | undefined

  /**
   * @param rules as in `mqtt.openTopics`
   * @param prefix first level of the chat tree: never open, whatever the rules say
   * @throws RangeError for a filter that MQTT does not allow (4.7.1), an empty one, or a shared one
   */
  constructor (rules: ReadonlyArray<string | OpenTopicRule>, prefix: string) {
    this.#rules = rules.map(rule => typeof rule === 'string' ? { filter: rule } : rule)
    for (const { filter } of this.#rules) {
      if (!isFilter(filter) || filter.startsWith('$share/')) throw new RangeError(`not a usable topic filter: '${filter}'`)
    }
    this.#prefix = prefix
    const personal = this.#rules.some(({ filter, read, write }) => placeholder.test(filter) || Array.isArray(read) || Array.isArray(write))
    if (!personal) this.#common = this.#rightsOf('', '')
  }

  /** The rights of a connection; `user` is empty for one without a user name. */
  of (user: string, clientId: string): TopicRights { return this.#common ?? this.#rightsOf(user, clientId) }

  /** The rights of a session, by its id: `{user}/{clientId}`. */
  ofSession (id: string): TopicRights {
    const slash = id.indexOf('/')
    return this.of(id.slice(0, slash), id.slice(slash + 1))
  }

  #rightsOf (user: string, clientId: string): TopicRights {
    const lets = (whom: Whom = 'everybody'): boolean => whom === 'everybody' || (whom !== 'nobody' && whom.includes(user))
    const [read, write]: [string[][], string[][]] = [[], []]
    for (const rule of this.#rules) {
      const filter = filledIn(rule.filter, user, clientId)?.split('/')
      if (filter === undefined) continue
      if (lets(rule.read)) read.push(filter)
      if (lets(rule.write)) write.push(filter)
    }
    return new TopicRights(read, write, this.#prefix)
  }
}

const placeholder = /\{(user|clientId)\}/

/** The filter for one connection; undefined when it has no name that could stand there: one with a level or a wildcard in it would open what is others'. */
function filledIn (pattern: string, user: string, clientId: string): string | undefined {
  let usable = true
  const filter = pattern.replace(new RegExp(placeholder, 'g'), (_all, name: string, at: number) => {
    const value = name === 'user' ? user : clientId
    // Nor does a name open a `$`-topic.
    usable &&= /^[^/+#\0]+$/.test(value) && !(at === 0 && value.startsWith('$'))
    return value
  })
  return usable ? filter : undefined
}

function isTopic (topic: string): boolean { return topic !== '' && !topic.includes('+') && !topic.includes('#') }

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
