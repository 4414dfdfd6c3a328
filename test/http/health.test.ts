/** The health pages: what they tell, and what they keep to the log. */
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { pino } from 'pino'
import t from 'tap'
import { createHttp } from '../../broker/http/server.ts'

await t.test('readyz says that the store fails; the address in the cause is for the log', async t => {
  let cause: Error | undefined
  const lines: Array<Record<string, unknown>> = []
  const log = pino({ base: null }, { write: (line: string) => { lines.push(JSON.parse(line) as Record<string, unknown>) } })
  const http = createHttp({ ready: async () => { if (cause !== undefined) throw cause }, version: '1.2.3', log })
  http.listen(0, '127.0.0.1')
  await once(http, 'listening')
  t.teardown(() => { http.closeAllConnections(); http.close() })
  const get = async (path: string, method = 'GET'): Promise<{ status: number, type: string | null, text: string }> => {
    const response = await fetch(`http://127.0.0.1:${(http.address() as AddressInfo).port}${path}`, { method })
    return { status: response.status, type: response.headers.get('content-type'), text: await response.text() }
  }

  t.match(await get('/readyz'), { status: 200, type: 'application/json', text: '{"status":"ready","version":"1.2.3"}' })
  t.same(lines, [], 'nothing to tell')

  cause = new Error('connect ECONNREFUSED db.internal:27017 (mongodb://sabethes:hunter2@db.internal:27017/chat)')
  for (let i = 0; i < 3; i++) {
    const { status, type, text } = await get('/readyz')
    t.equal(status, 503)
    t.equal(type, 'application/problem+json')
    t.match(JSON.parse(text), { status: 503, code: 'unavailable', detail: /store/ }, 'it says why')
    t.notMatch(text, /db\.internal|27017|hunter2|sabethes|ECONN/, 'and not where')
  }
  t.match(lines, [{ level: 50, err: { message: /db\.internal:27017/ } }], 'the log has the cause, once for all who ask')
  t.match(await get('/healthz'), { status: 200 }, 'the process lives')
  t.match(await get('/readyz', 'HEAD'), { status: 503, text: '' })

  cause = undefined
  t.match(await get('/readyz'), { status: 200 })
  t.match(await get('/readyz'), { status: 200 })
  t.match(lines.slice(1), [{ level: 30 }], 'and says when it is over')
  t.equal(lines.length, 2)

  cause = new Error('again')
  t.match(await get('/readyz'), { status: 503 })
  t.match(lines.slice(2), [{ level: 50, err: { message: 'again' } }])
})
