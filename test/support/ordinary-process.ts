/** `node ordinary-process.js FOLDER`: the broker of `ordinary-broker.ts` as a process to kill; prints its port. */
import { ordinaryBroker } from './ordinary-broker.ts'

const broker = await ordinaryBroker(process.argv[2] as string)
console.log(broker.port)
