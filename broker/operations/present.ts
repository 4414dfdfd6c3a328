/** The table of requests as topics.md shows it, and its routes as docs/http.md does. */
import { z } from 'zod'
import { requests, verbs } from '../operations.ts'
import { choicesOf } from './fields.ts'
import type { RequestOperation } from './operation.ts'

type Schema = z.core.$ZodType

/** Markdown, with a row for each request. */
export function methodTable (): string {
  const rows = [...requests.values()].map(operation => `| \`${operation.name}\`${operation.rate === 'heavy' ? ' (large)' : ''}${operation.permission === 'operator' ? ' (operator)' : ''} | ${paramsText(operation)} | \`${shapeText(operation.result)}\`: ${operation.text} |\n`)
  return `| Method | Parameters | Result |\n|---|---|---|\n${rows.join('')}`
}

/** Markdown, with a row for each route, by its path. */
export function routeTable (): string {
  const routes = [...requests.values(), ...verbs.values()].flatMap(({ name, http = [] }) => http.map(route => ({ name, route, path: route.split(' ')[1] ?? '' })))
  const rows = routes.sort((a, b) => a.path < b.path || (a.path === b.path && a.route < b.route) ? -1 : 1)
  return `| Route | Request |\n|---|---|\n${rows.map(({ name, route }) => `| \`${route}\` | \`${name}\` |\n`).join('')}`
}

/** Those that must be given are in bold; those that may stand instead of one are left to its text. */
function paramsText ({ params }: RequestOperation): string {
  const { needed = [], instead = [] } = choicesOf(params)
  return Object.entries(params.shape).filter(([name]) => !instead.includes(name)).map(([name, field]) => {
    const isNeeded = needed.includes(name) || !isOptional(field)
    const note = metaOf(field)?.description
    return `${isNeeded ? `**\`${name}\`**` : `\`${name}\``}${note === undefined ? '' : ` (${note})`}`
  }).join(', ')
}

/** `{a, b?: [{c}], d: {…}}`. */
function shapeText (schema: Schema): string {
  const inner = unwrapped(schema)
  const title = metaOf(schema)?.title
  if (title !== undefined) return title
  if (inner instanceof z.ZodArray) return `[${shapeText(inner.element)}]`
  if (inner instanceof z.ZodRecord) return '{…}'
  if (!(inner instanceof z.ZodObject)) return ''
  return `{${Object.entries(inner.shape).map(([name, member]) => memberText(name, member as Schema)).join(', ')}}`
}

function memberText (name: string, member: Schema): string {
  const shape = shapeText(member)
  return `${name}${isOptional(member) ? '?' : ''}${shape === '' || shape === name ? '' : `: ${shape}`}`
}

function isOptional (schema: Schema): boolean { return schema instanceof z.ZodOptional || schema instanceof z.ZodDefault }

function unwrapped (schema: Schema): Schema {
  return schema instanceof z.ZodOptional || schema instanceof z.ZodDefault ? unwrapped(schema.unwrap()) : schema
}

/** What is said of the schema, or of what it wraps. */
function metaOf (schema: Schema): z.core.GlobalMeta | undefined {
  const own = z.globalRegistry.get(schema)
  return own !== undefined || !(schema instanceof z.ZodOptional || schema instanceof z.ZodDefault) ? own : metaOf(schema.unwrap())
}
