/**
 * End-to-end tests whose servers are two each: of the connections that come, each goes to the other one than that before it, so that nearly everybody is at
 * the wrong one for whom they talk to. `SABETHES_TEST_ALL=1`: the longer list. Not among them, beside those of one server's own affairs: e2e/mqtt5 (shared
 * subscriptions to ordinary topics are refused in a cluster, docs/mqtt5.md).
 */
import t from 'tap'
import { onMongodb } from '../support/on-mongodb.ts'
import { requireTool } from '../support/tools.ts'

const files = ['e2e/rpc', 'e2e/sessions', 'e2e/refusals', 'e2e/password', 'http/stream']
const more = ['e2e/first-message', 'e2e/leaks', 'e2e/receipts', 'e2e/resends', 'e2e/websocket', 'e2e/purge', 'e2e/people', 'e2e/contacts']
if (requireTool(t, 'redis-server')) await onMongodb(t, process.env.SABETHES_TEST_ALL === '1' ? [...files, ...more] : files, { cluster: true })
