/** All that a server measures of itself: gateway, engine, store. */
import type { Core } from './link/core.ts'
import type { Measure } from './link/measures.ts'
import { packageVersion } from './version.ts'

/** So long an engine that hangs is waited for, milliseconds: its silence is what the reader has to hear of. */
const patienceMs = 2000

export interface Measuring {
  core: Pick<Core, 'measures' | 'health'>
  gateway: { measures (): Measure[] }
}

export async function allMeasures ({ core, gateway }: Measuring, waitMs = patienceMs): Promise<Measure[]> {
  const [engine, up] = await Promise.all([
    inTime(core.measures(), waitMs),
    inTime(core.health().then(() => true, () => false), waitMs)
  ])
  return [
    { name: 'sabethes_info', labels: { version: packageVersion() }, value: 1 },
    { name: 'sabethes_engine_up', value: engine === undefined ? 0 : 1 },
    { name: 'sabethes_store_up', value: up === true ? 1 : 0 },
    ...gateway.measures(),
    ...engine ?? []
  ]
}

/** Undefined: there was no answer, or none that helps. */
async function inTime<Value> (answer: Promise<Value>, waitMs: number): Promise<Value | undefined> {
  let timer: NodeJS.Timeout | undefined
  try {
    return await Promise.race([
      answer.catch(() => undefined),
      new Promise<undefined>(resolve => { timer = setTimeout(resolve, waitMs, undefined) })
    ])
  } finally {
    clearTimeout(timer)
  }
}
