/**
 * schemathesis, which makes requests from an OpenAPI document and judges the answers by it (https://schemathesis.readthedocs.io). Installed once per
 * content of its requirements into the user's cache folder; by hand, so that no test waits for it: `node dist/test/support/schemathesis.js`.
 */
import { copyFileSync, mkdirSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { builtOnce } from './built-once.ts'
import { command } from './commands.ts'
import { packageRoot } from './package-root.ts'

const sources = fileURLToPath(new URL('test/http/schemathesis/', packageRoot))

/** How it is called; needs `python3` with pip and, the first time, the Python package index. */
export async function schemathesis (): Promise<string[]> {
  const folder = join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'sabethes-clients')
  const built = await builtOnce({ name: 'schemathesis', sources, files: ['requirements.txt'], folder }, async copy => {
    mkdirSync(copy)
    copyFileSync(join(sources, 'requirements.txt'), join(copy, 'requirements.txt'))
    await command(copy, 'python3', '-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--no-deps', '--only-binary', ':all:', '--target', 'packages', '-r', 'requirements.txt')
  })
  return ['env', `PYTHONPATH=${join(built, 'packages')}`, 'python3', '-m', 'schemathesis.cli', '--config-file', join(sources, 'schemathesis.toml')]
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const began = Date.now()
  process.stdout.write(`${(await schemathesis()).join(' ')} (${((Date.now() - began) / 1000).toFixed(1)} s)\n`)
}
