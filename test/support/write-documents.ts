/** Writes what documents hold of the code: the requests of topics.md, the keys of the configuration, the snippets of clients. Tests hold them to it. */
import { readFileSync, writeFileSync } from 'node:fs'
import { markdownTable, sampleYaml } from '../../broker/config/present.ts'
import { defaultConfig } from '../../broker/config/schema.ts'
import { methodTable, routeTable } from '../../broker/operations/present.ts'
import { withSnippets } from './client-snippets.ts'
import { metricsTable } from './metrics.ts'
import { packageRoot } from './package-root.ts'

function replace (file: string, part: RegExp, text: string): void {
  const url = new URL(file, packageRoot)
  const document = readFileSync(url, 'utf8')
  if (!part.test(document)) throw new Error(`${file} has no place for it`)
  writeFileSync(url, document.replace(part, () => text))
}

replace('topics.md', /(?<=<!-- methods: [^\n]* -->\n)[^]*(?=<!-- \/methods -->)/, methodTable())
replace('docs/http.md', /(?<=<!-- routes: [^\n]* -->\n)[^]*(?=<!-- \/routes -->)/, routeTable())
replace('docs/metrics.md', /(?<=<!-- metrics: [^\n]* -->\n)[^]*(?=<!-- \/metrics -->)/, metricsTable())
replace('docs/configuration.md', /(?<=<!-- keys -->\n)[^]*(?=<!-- \/keys -->)/, markdownTable())
writeFileSync(new URL('config/sabethes.yaml', packageRoot), sampleYaml(defaultConfig()))
const clients = new URL('docs/clients.md', packageRoot)
writeFileSync(clients, withSnippets(readFileSync(clients, 'utf8')))
