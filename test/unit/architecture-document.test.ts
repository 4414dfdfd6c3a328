/** docs/architecture.md names files that are there. */
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { packageRoot } from '../support/package-root.ts'

const root = fileURLToPath(packageRoot)
const places = /`((?:broker|plugins|test|docs|engine|gateway|bench|config)\/[a-z0-9/.-]*)`/g
/** Folders that the page names before they are there. */
const toCome = new Set<string>()

await t.test('every place is there', t => {
  const text = readFileSync(new URL('docs/architecture.md', packageRoot), 'utf8')
  const found = new Set([...text.matchAll(places)].map(([, place = '']) => place))
  t.ok(found.size > 30, `${found.size} places`)
  if (!existsSync(`${root}/broker/main.ts`)) return t.end() // a package without sources
  for (const place of found) {
    if (toCome.has(place)) continue
    const path = /^(?:engine|gateway)\//.test(place) ? `broker/${place}` : place
    t.ok(existsSync(`${root}/${path}`), place)
  }
  for (const place of toCome) t.notOk(existsSync(`${root}/${place}`), `${place} is still to come`)
  t.end()
})
