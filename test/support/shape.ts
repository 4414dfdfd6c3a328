/** Shapes as topics.md writes them: `{a, b?, c: [{d}], e: {…}}`. A name alone is any value. */
export type Shape = { kind: 'any' } | { kind: 'list', of: Shape } | { kind: 'object', open: boolean, members: Map<string, { optional: boolean, shape: Shape }> }

/** Throws when the text is no shape. */
export function parseShape (text: string): Shape {
  let at = 0
  const space = (): void => { while (text[at] === ' ') at++ }
  const take = (char: string): boolean => {
    space()
    if (text[at] !== char) return false
    at++
    return true
  }
  const need = (char: string): void => { if (!take(char)) throw new Error(`'${char}' expected at ${at} of ${text}`) }
  const name = (): string => {
    space()
    const [word] = /^[A-Za-z]+/.exec(text.slice(at)) ?? []
    if (word === undefined) throw new Error(`a name expected at ${at} of ${text}`)
    at += word.length
    return word
  }
  const value = (): Shape => {
    if (take('[')) {
      const of = value()
      need(']')
      return { kind: 'list', of }
    }
    if (!take('{')) {
      name()
      return { kind: 'any' }
    }
    const members = new Map<string, { optional: boolean, shape: Shape }>()
    if (take('…')) {
      need('}')
      return { kind: 'object', open: true, members }
    }
    do {
      const member = name()
      const optional = take('?')
      members.set(member, { optional, shape: take(':') ? value() : { kind: 'any' } })
    } while (take(','))
    need('}')
    return { kind: 'object', open: false, members }
  }
  const shape = value()
  space()
  if (at !== text.length) throw new Error(`the end expected at ${at} of ${text}`)
  return shape
}

/** How a value differs from its shape; `seen` collects the places of members that were there, as `a.b`. */
export function differences (value: unknown, shape: Shape, seen: Set<string>, path = ''): string[] {
  if (shape.kind === 'any') return value === undefined ? [`${path} is missing`] : []
  if (shape.kind === 'list') {
    if (!Array.isArray(value)) return [`${path} is no list`]
    return value.flatMap(item => differences(item, shape.of, seen, path))
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return [`${path} is no object`]
  const found: string[] = []
  const object = new Map(Object.entries(value))
  if (!shape.open) for (const name of object.keys()) if (!shape.members.has(name)) found.push(`${path}.${name} is not documented`)
  for (const [name, { optional, shape: inner }] of shape.members) {
    const place = `${path}.${name}`
    if (!object.has(name)) {
      if (!optional) found.push(`${place} is missing`)
      continue
    }
    seen.add(place)
    found.push(...differences(object.get(name), inner, seen, place))
  }
  return found
}

/** Every place of a shape, as `seen` has them. */
export function places (shape: Shape, path = ''): string[] {
  if (shape.kind === 'any') return []
  if (shape.kind === 'list') return places(shape.of, path)
  return [...shape.members].flatMap(([name, { shape: inner }]) => [`${path}.${name}`, ...places(inner, `${path}.${name}`)])
}
