/** The embedded store against the model. */
import { join } from 'node:path'
import t from 'tap'
import { openLevelStore } from '../../broker/store/level/store.ts'
import { checkAgainstModel } from './model.ts'

await t.test('unread, lists, histories and deletions equal the model\'s after every step', async t => {
  const folder = t.testdir()
  let runs = 0
  await checkAgainstModel(() => {
    // Caches that are too small for the rows, so that rows are read from disk too; segments of a few messages, or one.
    const options = { path: join(folder, `store-${++runs}`), cache: { heads: 2, members: 4, groupMembers: 2, groups: 2, lists: 4, newest: 1_000 }, writeBufferBytes: 64 * 1024, ...(runs % 2 === 0 ? { segmentLength: 200 * runs } : {}) }
    return { open: () => openLevelStore(options) }
  }, { runs: 25, maxSteps: 200 })
})
