/** Log lines for people. */

const levelNames = new Map([[10, 'TRACE'], [20, 'DEBUG'], [30, 'INFO'], [40, 'WARN'], [50, 'ERROR'], [60, 'FATAL']])
const colors = new Map([[40, '33'], [50, '31'], [60, '31;1']])
// eslint-disable-next-line no-control-regex -- control characters are what is looked for
const control = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g

interface Line { level: number, time: string, msg?: string, part?: string, err?: { stack?: string, message?: string }, [field: string]: unknown }

/**
 * One of pino's JSON lines as text: time of day, level, text, fields; the stack of an error below. What clients named (ids,
 * addresses) cannot move the cursor or make lines of its own: control characters are escaped.
 */
export function lineText (json: string, color: boolean): string {
  const { level, time, msg = '', part, err, ...fields } = JSON.parse(json) as Line
  const name = (levelNames.get(level) ?? String(level)).padEnd(5)
  const shade = color ? colors.get(level) : undefined
  const shown = Object.entries(fields).map(([key, value]) => `${escaped(key)}=${fieldText(value)}`)
  const head = [time.slice(11, 23), shade === undefined ? name : `\u001b[${shade}m${name}\u001b[0m`, ...part === undefined ? [] : [`${part}:`], escaped(msg), ...shown].join(' ')
  const stack = err?.stack ?? err?.message
  return stack === undefined ? head + '\n' : `${head}\n${stack.split('\n').map(line => `    ${escaped(line)}\n`).join('')}`
}

function fieldText (value: unknown): string {
  return escaped(typeof value === 'string' && /^[\w.:/@+-]+$/.test(value) ? value : JSON.stringify(value) ?? String(value))
}

function escaped (text: string): string {
  return text.replace(control, character => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`)
}
