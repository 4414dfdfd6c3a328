/** docs/http.md: its commands do what it says, and it has every route. */
import { readFileSync } from 'node:fs'
import t from 'tap'
import { routeTable } from '../../broker/operations/present.ts'
import { packageRoot } from '../support/package-root.ts'
import { run, startServer } from '../support/server.ts'
import { requireTool } from '../support/tools.ts'

const page = readFileSync(new URL('docs/http.md', packageRoot), 'utf8')

await t.test('every route is in it', t => {
  t.equal(/(?<=<!-- routes: [^\n]* -->\n)[^]*(?=<!-- \/routes -->)/.exec(page)?.[0], routeTable(), 'npm run documents')
  t.end()
})

/** What is another one each time. */
const made = new Set(['id', 'ts', 'createdAt'])
function plain (text: string): unknown {
  const json: unknown = JSON.parse(text, (key, value: unknown) => made.has(key) ? typeof value : value)
  const { cid } = json as { cid?: string }
  return cid !== undefined && cid.startsWith('0m') ? { ...json as object, cid: typeof cid } : json
}

await t.test('its commands are answered as it says', async t => {
  if (!requireTool(t, 'curl')) return
  const server = await startServer(t)
  const examples = [...page.matchAll(/```sh\n([^]*?)```\n```json\n([^]*?)```/g)]
  t.equal(examples.length, (page.match(/```sh/g) ?? []).length)
  t.ok(examples.length >= 5)
  for (const [, command = '', answer = ''] of examples) {
    const { code, stdout, stderr } = await run('bash', ['-c', command.replaceAll('127.0.0.1:8080', `127.0.0.1:${server.httpPort}`)])
    t.equal(code, 0, stderr)
    t.strictSame(plain(stdout), plain(answer), command)
  }
})
