/** Tests that run side by side never get the same port. */
import t from 'tap'
import * as here from '../support/ports.ts'

await t.test('two processes take a thousand ports each, and none twice', async t => {
  // A module of its own by its query: what two test processes share is the system alone.
  const other = await import(new URL('../support/ports.js?other', import.meta.url).href) as typeof here
  const [one, two] = await Promise.all([take(here.freePort), take(other.freePort)])
  t.equal(new Set(one).size, 1000)
  t.equal(new Set(two).size, 1000)
  t.same(two.filter(port => one.includes(port)), [])
  t.ok([...one, ...two].every(port => port >= 10_000 && port < 32_000), 'below the ephemeral range')
})

async function take (freePort: () => Promise<number>): Promise<number[]> {
  const ports: number[] = []
  while (ports.length < 1000) ports.push(await freePort())
  return ports
}
