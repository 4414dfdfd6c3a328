/** What a started server says. */
import { openness } from '../config/cross-checks.ts'
import { openTopicText } from '../config/open-topic.ts'
import type { Config } from '../config/schema.ts'
import { isLoopback } from '../network.ts'
import type { RunningServer } from './server-module.ts'

/** The text of the start: addresses, mode, data, and what to try next. No secrets. */
export function banner (config: Config, { mqtt, http, further }: RunningServer['addresses'], version: string, data: string): string {
  const web = `${forUrl(http.host)}:${http.port}`
  const open = openness(config)
  const reachable = !isLoopback(config.mqtt.tcp.host) || !isLoopback(config.http.host)
  const lines = [
    `Sabethes ${version}: instant messaging on plain MQTT`,
    '',
    `  MQTT       mqtt://${forUrl(mqtt.host)}:${mqtt.port}`,
    `  WebSocket  ws://${web}${config.mqtt.ws.path}`,
    `  HTTP       http://${web}/readyz`,
    ...further.map(({ kind, host, port }) => `  ${kind.toUpperCase().padEnd(9)}  ${kind}://${forUrl(host)}:${port}`),
    `  Data       ${data}`,
    `  Mode       ${config.auth.mode}: ${modes[config.auth.mode]}`
  ]
  if (config.mqtt.openTopics.length > 0) lines.push(`  Open       ordinary MQTT${config.mqtt.openTopics.every(entry => typeof entry === 'string') ? ' for every user' : ''}: ${config.mqtt.openTopics.map(openTopicText).join(' ')}`)
  if (open !== undefined && reachable) lines.push('', `  WARNING: this listens beyond this machine, and ${open.text} (auth.devAnywhere).`)
  else if (config.auth.mode === 'dev') lines.push('             (this machine only; for others: auth.mode password and another host)')
  const place = [
    ...(['127.0.0.1', '::1', '0.0.0.0', '::', 'localhost'].includes(mqtt.host) ? [] : ['-h', mqtt.host]),
    ...(mqtt.port === 1883 ? [] : ['-p', String(mqtt.port)])
  ].map(word => ' ' + word).join('')
  const login = (name: string): string => `-u ${name}${config.auth.mode === 'dev' ? '' : ' -P …'}`
  const { prefix } = config.mqtt
  lines.push('', 'Try it, in two terminals:',
    `  mosquitto_sub${place} ${login('bob')} -t '${prefix}/u/bob/#' -q 1 -v`,
    `  mosquitto_pub${place} ${login('alice')} -t ${prefix}/to/u/bob -q 1 -m 'hello'`, '')
  return lines.join('\n')
}

const modes: Record<Config['auth']['mode'], string> = {
  dev: 'any user name is let in, without a password',
  password: "accounts by 'sabethes user add NAME'",
  jwt: 'the password is a token (auth.jwt)',
  webhook: 'your account system is asked (auth.webhook)'
}

function forUrl (host: string): string { return host.includes(':') ? `[${host}]` : host }
