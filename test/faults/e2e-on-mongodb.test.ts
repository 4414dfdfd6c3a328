/** The core's end-to-end tests that take longest, on MongoDB: `kill -9` under load, cut connections, large groups, stalled readers. */
import t from 'tap'
import { onMongodb } from '../support/on-mongodb.ts'

await onMongodb(t, ['faults/e2e-kill9', 'faults/e2e-cuts', 'faults/e2e-feed-kill', 'e2e/group-large', 'e2e/stalled-reader'])
