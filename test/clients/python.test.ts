import t from 'tap'
import { matrix } from './matrix.ts'

// The first time it is built.
t.setTimeout(600_000)
await matrix(t, 'Paho Python')
