#!/usr/bin/env node
/**
 * A chat in the terminal, with the npm package `mqtt` (`npm install mqtt`). What you type goes to one user or group; what comes from anybody is printed.
 *
 *   node chat.mjs --user alice --to bob
 *   node chat.mjs --url mqtts://chat.example.com --user alice --password secret --group dev
 *
 * Ctrl-D ends it, when all that was typed is stored. chat.py and chat-go are the same program. topics.md says what the topics mean.
 */
import { randomUUID } from 'node:crypto'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import mqtt from 'mqtt'

const { values: options } = parseArgs({
  options: {
    url: { type: 'string', default: 'mqtt://127.0.0.1:1883' },
    user: { type: 'string' },
    password: { type: 'string' },
    'client-id': { type: 'string', default: 'chat' }, // of this device: the server keeps what comes while it is away
    to: { type: 'string' },
    group: { type: 'string' }
  }
})
const { user: me, to, group } = options
if (!me || !to === !group) {
  console.error('usage: chat.mjs [--url mqtt://host:1883] --user me [--password …] [--client-id chat] (--to user | --group id)')
  process.exit(2)
}
const target = group ? `im/to/g/${group}` : `im/to/u/${to}`
const pending = new Map() // cid to text: typed, and neither stored nor refused as far as we know
const seen = new Map() // conversation to the last number that was printed
let isOnline = false // what was typed before has been sent again
let isEnding = false

// What others write does not command this terminal.
const say = text => console.log(text.replace(/\p{Cc}/gu, ' '))

const client = mqtt.connect(options.url, {
  username: me,
  password: options.password,
  clientId: options['client-id'],
  clean: false,
  reconnectPeriod: 1000,
  reconnectOnConnackError: true, // "try again later" is no reason to give up
  resubscribe: false // done below
})
client.on('connect', () => {
  client.options.reconnectPeriod = 1000
  say('* connected')
  client.subscribe([`im/u/${me}/#`, 'im/g/+'], { qos: 1 }, error => { if (error) say(`* ${error.message}`) })
  // The library may send some of them again, too. Their cid says that they are the same messages.
  for (const [cid, text] of pending) publish(cid, text)
  isOnline = true
})
client.on('close', () => {
  isOnline = false
  if (isEnding) return
  say('* no connection, trying again')
  client.options.reconnectPeriod = Math.min(client.options.reconnectPeriod * 2, 30_000) // from the next time on
})
client.on('error', error => {
  if (error.code !== 4 && error.code !== 5) return // "close" follows
  say(`* ${error.message}`)
  process.exit(1)
})
client.on('message', (topic, payload) => {
  if (topic.endsWith('/event')) event(JSON.parse(payload))
  else if (topic.endsWith('/notice')) notice(JSON.parse(payload))
  else if (topic.endsWith('/inbox') || topic.startsWith('im/g/')) message(JSON.parse(payload))
})

function publish (cid, text) {
  // Acknowledged is: stored, or refused. The copy of our message, or a notice, says which.
  client.publish(target, JSON.stringify({ cid, type: 'text', body: text }), { qos: 1 })
}

function message ({ conv, seq, cid, from, body }) {
  // Numbers go up in each conversation: this one came before, and its acknowledgement was lost.
  if (seq <= (seen.get(conv) ?? 0)) return
  seen.set(conv, seq)
  if (from === me && pending.has(cid)) {
    say(`sent #${seq}`)
    settled(cid)
    return
  }
  const [kind, ...ids] = conv.split(':')
  const other = kind === 'g' ? ids[0] : ids.find(id => id !== me) ?? me
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  if (from === me) say(`#${seq} ${me} to ${other}: ${text}`) // from another device
  else {
    say(`#${seq} ${kind === 'g' ? `${other}/` : ''}${from}: ${text}`)
    client.publish(`im/to/${kind === 'g' ? 'g' : 'u'}/${other}/read`, String(seq), { qos: 1 })
  }
}

function event ({ kind, seq, by, gid, action }) {
  if (kind === 'group') say(`* group ${gid}: ${action} by ${by}`)
  else if (by !== me) say(kind === 'read' ? `read up to #${seq} by ${by}` : `delivered up to #${seq} to ${by}`)
}

function notice ({ code, reason, ref }) {
  if (!pending.has(ref?.cid)) return // of another device, or of a message that was sent twice
  say(`not sent (${code}: ${reason}): ${pending.get(ref.cid)}`)
  settled(ref.cid)
}

function settled (cid) {
  pending.delete(cid)
  if (isEnding && pending.size === 0) client.end(() => process.exit(0))
}

const lines = createInterface({ input: process.stdin })
lines.on('line', text => {
  if (text === '') return
  const cid = randomUUID()
  pending.set(cid, text)
  if (isOnline) publish(cid, text)
})
lines.on('close', () => {
  isEnding = true
  if (pending.size === 0) client.end(!client.connected, () => process.exit(0))
  setTimeout(() => {
    say(`* not sent: ${[...pending.values()].join(' | ')}`)
    process.exit(1)
  }, 10_000)
})
