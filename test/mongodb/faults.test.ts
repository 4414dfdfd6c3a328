/** End-to-end tests on MongoDB: kills, cut connections, large groups, stalled readers. */
import t from 'tap'
import { filesOf } from '../support/on-mongodb-files.ts'
import { onMongodb } from '../support/on-mongodb.ts'

await onMongodb(t, filesOf('faults'))
