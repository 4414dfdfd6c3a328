import { pingresp } from '../../mqtt/index.ts'
import { packetUnits, type Allowance } from './allowance.ts'
import type { Evidence } from './evidence.ts'
import type { Output } from './output.ts'
import type { Publishes } from './publishes.ts'

export interface PingingClient {
  readonly output: Output
  readonly publishes: Publishes
  readonly evidence: Evidence | undefined
  readonly allowance: Allowance
}

/** PINGREQ. */
export function ping ({ allowance, evidence, output, publishes }: PingingClient): void {
  allowance.spend(packetUnits)
  evidence?.ping(publishes.unfinished)
  output.write(pingresp)
}
