/** Which tests with a full server run on MongoDB as well, and which do not and why. */
import { readFileSync, readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { levelOnly, moreOnMongodb, onMongodbFiles, ownDatabase } from '../support/on-mongodb-files.ts'

const root = fileURLToPath(new URL('..', import.meta.url))

await t.test('every test with a full server is in one of the lists', t => {
  const found = readdirSync(root, { recursive: true, encoding: 'utf8' })
    .filter(name => name.endsWith('.test.js') && /\b(start(Server|Ordinary)|matrix)\(t[,)]/.test(readFileSync(`${root}${name}`, 'utf8')))
    .map(name => name.slice(0, -'.test.js'.length))
  t.same(found.sort(), [...Object.values(onMongodbFiles).flat(), ...Object.values(moreOnMongodb).flat(), ...Object.keys(levelOnly), ...ownDatabase].sort())
  t.end()
})

await t.test('every list has a file that runs it', t => {
  const files = readdirSync(`${root}mongodb`).filter(name => name.endsWith('.test.js')).map(name => name.slice(0, -'.test.js'.length))
  t.same(files.sort(), Object.keys(onMongodbFiles).sort())
  t.end()
})
