/** Runs end-to-end test files a second time, with their servers on MongoDB. */
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { findMongodb } from './mongodb-program.ts'
import { absent } from './tools.ts'

/** Seconds that one file may take. */
const fileSeconds = 240

/** Each file (`e2e/rpc`) as a process of its own with a database server of its own; its assertions are subtests here. `cluster`: each full server is two that work as one. */
export async function onMongodb (t: Test, files: readonly string[], { cluster = false } = {}): Promise<void> {
  if (findMongodb() === undefined) {
    absent(t, `no MongoDB server: set SABETHES_TEST_MONGODB_URL, or install mongod or go. Not run: ${files.join(', ')}`)
    return
  }
  t.setTimeout((fileSeconds * files.length + 60) * 1000)
  for (const file of files) {
    const path = fileURLToPath(new URL(`../${file}.test.js`, import.meta.url))
    if (!existsSync(path)) throw new Error(`no test file ${path}`)
    const env = { ...process.env, SABETHES_TEST_STORE: 'mongodb', TAP_TIMEOUT: String(fileSeconds), ...cluster && { SABETHES_TEST_CLUSTER: '1' } }
    // The argument says nothing to the test. It is part of the name of its folders, which the same file on LevelDB may use now.
    await t.spawn(process.execPath, [path, cluster ? 'cluster' : 'mongodb'], { env, timeout: fileSeconds * 1000 }, `${file} ${cluster ? 'on two servers' : 'on MongoDB'}`)
  }
}
