/** The snippets of docs/clients.md are parts of the programs in `test/clients`, between `<snippet>` and `</snippet>`. */
import { readFileSync } from 'node:fs'
import { packageRoot } from './package-root.ts'

const places = /(?<=<!-- snippet: (\S+) -->\n```\w+\n)[^]*?(?=```\n)/g

/** The document with each snippet as it is in the program that the line above it names. */
export function withSnippets (document: string): string {
  return document.replace(places, (_old, path: string) => snippet(path))
}

/** The programs that the document names, in its order. */
export function snippetPaths (document: string): string[] {
  return [...document.matchAll(places)].map(match => match[1] as string)
}

/** The marked part of a program, without the indentation that all of its lines have. Throws when there is none, or more than one. */
function snippet (path: string): string {
  const lines = readFileSync(new URL(`test/clients/${path}`, packageRoot), 'utf8').split('\n')
  const [from, ...more] = lines.flatMap((line, at) => line.includes('<snippet>') ? [at] : [])
  const to = lines.findIndex(line => line.includes('</snippet>'))
  if (from === undefined || more.length > 0 || to < from) throw new Error(`${path} has no marked part, or more than one`)
  const part = lines.slice(from + 1, to)
  const indent = Math.min(...part.filter(line => line !== '').map(line => /^\s*/.exec(line)?.[0].length ?? 0))
  return part.map(line => line.slice(indent) + '\n').join('')
}
