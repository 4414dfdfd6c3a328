/** End-to-end tests on MongoDB: chats. */
import t from 'tap'
import { filesOf } from '../support/on-mongodb-files.ts'
import { onMongodb } from '../support/on-mongodb.ts'

await onMongodb(t, filesOf('chat'))
