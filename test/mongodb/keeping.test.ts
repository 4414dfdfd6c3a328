/** End-to-end tests on MongoDB: what is kept, logged and removed. */
import t from 'tap'
import { filesOf } from '../support/on-mongodb-files.ts'
import { onMongodb } from '../support/on-mongodb.ts'

await onMongodb(t, filesOf('keeping'))
