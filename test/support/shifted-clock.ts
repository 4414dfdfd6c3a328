/** Loaded into a server by `--import`: its clock is off by `TEST_CLOCK_AHEAD_MS` milliseconds. Clocks that only go forward are as they are. */
const aheadMs = Number(process.env['TEST_CLOCK_AHEAD_MS'])
if (!Number.isFinite(aheadMs)) throw new TypeError('TEST_CLOCK_AHEAD_MS must be a number')

const Real = Date
globalThis.Date = new Proxy(Real, {
  construct: (target, args, made) => Reflect.construct(target, args.length === 0 ? [Real.now() + aheadMs] : args, made === shifted ? Real : made) as Date,
  apply: () => new Real(Real.now() + aheadMs).toString(),
  get: (target, key) => key === 'now' ? () => Real.now() + aheadMs : Reflect.get(target, key) as unknown
})
const shifted = globalThis.Date
