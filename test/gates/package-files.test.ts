/** What `npm pack` puts into the package, and that the documents' links work in the repository and in the package. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { posix } from 'node:path'
import t from 'tap'
import { packageRoot } from '../support/package-root.ts'
import { run } from '../support/server.ts'
import { requireTool } from '../support/tools.ts'

// npm takes its time on a busy machine.
t.setTimeout(180_000)

const root = packageRoot.pathname
const read = (path: string): string => readFileSync(new URL(path, packageRoot), 'utf8')

/** Relative links of a document: `[text](path#part)`. */
function links (path: string): string[] {
  return [...read(path).replace(/```[^]*?```/g, '').matchAll(/\]\(([^)\s]+)\)/g)].map(match => match[1] as string).filter(link => !/^[a-z]+:/.test(link))
}

/** How a heading is named in a link, as GitHub does it. */
function anchors (path: string): string[] {
  return [...read(path).matchAll(/^#+ (.*)$/gm)].map(match => (match[1] as string).toLowerCase().replace(/[^\p{L}\p{N} _-]/gu, '').replaceAll(' ', '-'))
}

function documents (folder = ''): string[] {
  return readdirSync(root + folder, { withFileTypes: true }).flatMap(entry => {
    const path = folder + entry.name
    if (entry.isDirectory()) return /^(node_modules|dist|\..*|data)$/.test(entry.name) ? [] : documents(path + '/')
    return path.endsWith('.md') ? [path] : []
  })
}

await t.test('every relative link of every document', async t => {
  const all = documents()
  t.ok(all.includes('README.md') && all.includes('docs/plugins/README.md'))
  for (const path of all) {
    for (const link of links(path)) {
      const [file = '', part] = link.split('#')
      const target = file === '' ? path : posix.join(posix.dirname(path), file)
      t.ok(existsSync(new URL(target, packageRoot)), `${path}: ${link}`)
      if (part !== undefined && target.endsWith('.md')) t.ok(anchors(target).includes(part), `${path}: ${link} is a heading there`)
    }
  }
})

await t.test('the package', async t => {
  if (!requireTool(t, 'npm')) return
  const { code, stdout, stderr } = await run('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], { cwd: root, timeoutMs: 120_000 })
  t.equal(code, 0, stderr)
  const [{ files }] = JSON.parse(stdout) as [{ files: Array<{ path: string }> }]
  const packed = new Set(files.map(file => file.path))
  for (const path of ['LICENSE', 'README.md', 'package.json', 'build.js', 'dist/broker/main.js', 'dist/broker/plugin-api.d.ts', 'dist/plugins/rate-limit.js']) t.ok(packed.has(path), path)
  for (const path of packed) t.notMatch(path, /^(test|dist\/(test|bench|examples)|\.ci)\/|tsbuildinfo|\.tgz$/, path)
  for (const path of [...packed].filter(path => path.endsWith('.js.map'))) {
    const { sources } = JSON.parse(read(path)) as { sources: string[] }
    for (const source of sources) t.ok(packed.has(posix.join(posix.dirname(path), source)), `${path}: its source is there`)
  }
  const isThere = (path: string): boolean => packed.has(path) || [...packed].some(file => file.startsWith(path.replace(/\/?$/, '/')))
  for (const path of [...packed].filter(path => path.endsWith('.md'))) {
    for (const link of links(path)) {
      const [file = ''] = link.split('#')
      if (file !== '') t.ok(isThere(posix.join(posix.dirname(path), file)), `${path}: ${link} is in the package`)
    }
  }
})

await t.test('what package.json says', async t => {
  const { license, scripts, files } = JSON.parse(read('package.json')) as { license: string, scripts: Record<string, string>, files: string[] }
  t.equal(license, 'MIT')
  t.match(read('LICENSE'), /^MIT License\n\nCopyright \(c\) \d{4} The Sabethes authors\n/)
  // npm signals the shell it starts; only a shell that became the server hands the signal on for certain.
  t.match(scripts['start'], /^exec node /)
  for (const file of files) t.ok(existsSync(new URL(file, packageRoot)), file)
})
