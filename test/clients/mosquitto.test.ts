import t from 'tap'
import { matrix } from './matrix.ts'

await matrix(t, 'mosquitto')
