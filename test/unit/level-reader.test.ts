/** A read that comes upon a database which is just being opened anew is done again on the new one, from its first step on. */
import type { ClassicLevel } from 'classic-level'
import t from 'tap'
import { Reader } from '../../broker/store/level/reader.ts'
import { seal } from '../../broker/store/level/seal.ts'

type Level = ClassicLevel<string, string>

const row: [string, string] = ['u\0a', seal('u\0a', 'text')]

function closing (): Level {
  const iterator = (): never => { throw Object.assign(new Error('Database is not open'), { code: 'LEVEL_DATABASE_NOT_OPEN' }) }
  return { iterator } as unknown as Level
}

function open (): Level {
  const rows = [row]
  return { iterator: () => ({ nextv: async (most: number) => rows.splice(0, most), close: async () => {}, seek: () => {} }) } as unknown as Level
}

await t.test('an iterator that cannot be made on the old one', async t => {
  const levels = [closing(), open()]
  const reader = new Reader(async () => levels.shift() as Level)
  const found: string[] = []
  for await (const rows of reader.scan({ gt: 'u\0', lt: 'u\x01' })) for (const [name, value] of rows) found.push(name, value)
  t.same(found, ['u\0a', 'text'])
})

await t.test('other errors are told', async t => {
  const reader = new Reader(async () => ({ iterator: () => { throw new Error('other') } }) as unknown as Level)
  await t.rejects(reader.scan({ gt: 'u\0', lt: 'u\x01' }).next(), { message: 'other' })
})
