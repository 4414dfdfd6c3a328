/**
 * Program: opens a store with one bit of a table flipped, for each of some places, and prints a line a place: `told`, `same`, or
 * `WRONG …` when something altered was served. LevelDB may end the process; then the caller starts it again behind that place.
 * usage: node flipped-table.js STORE TABLE STEP START
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { argv, stdout } from 'node:process'
import { openLevelStore } from '../../broker/store/level/store.ts'
import type { Store } from '../../broker/store/store.ts'

const [, , path = '', table = '', step = '', start = ''] = argv
const refused = /^Store(Damaged|Failed|Lost|Format)Error$/

/** What a read gives; `undefined` when it is refused. */
async function asked<T> (read: Promise<T>): Promise<T | undefined> {
  try {
    return await read
  } catch (error) {
    if (!refused.test((error as Error).name)) throw error
    return undefined
  }
}

async function wrong (store: Store): Promise<string | undefined> {
  for (const [conv, word] of [['d:a:b', 'message'], ['d:a:c', 'other']] as const) {
    for (const { seq, content } of await asked(store.messages(conv, { limit: 1000 })) ?? []) {
      if (!content.includes('"type":"damaged"') && content !== `"body":"${word} ${seq}"`) return `${conv} ${seq}: ${content}`
    }
  }
  const user = await asked(store.user('a'))
  if (user !== undefined && user.name !== 'Anna') return JSON.stringify(user)
  const record = await asked(store.records.get('r'))
  if (record !== undefined && record.join() !== '1,2,3') return record.join()
  return undefined
}

const good = readFileSync(`${table}.good`)
for (let at = Number(start); at < good.length; at += Number(step)) {
  const bytes = Buffer.from(good)
  bytes[at] = (bytes[at] as number) ^ (1 << at % 8)
  writeFileSync(table, bytes)
  let damage = 0
  const store = await asked(openLevelStore({ path, onDamage: () => { damage++ } }))
  const found = store === undefined ? undefined : await wrong(store)
  await store?.close()
  stdout.write(`${at} ${found !== undefined ? `WRONG ${found}` : damage > 0 || store === undefined ? 'told' : 'same'}\n`)
}
stdout.write('end\n')
