/** The npm package `mqtt`, versions 4 and 5. Arguments: package, host, port, version of MQTT, cases. docs/clients.md shows the marked part. */
import { EventEmitter, once } from 'node:events'

const [packageName, host, port, version, ...cases] = process.argv.slice(2)
const { default: mqtt } = await import(packageName)
const protocolVersion = version === '5' ? 5 : 4
const changed = new EventEmitter()
let now = ''
let lines = []

function show (event, client, more) {
  const line = JSON.stringify({ case: now, event, client, ...more })
  process.stdout.write(line + '\n')
  lines.push(line)
  changed.emit('line')
}

/** Until so many lines of this case have all the parts. */
async function wait (count, ...parts) {
  const signal = AbortSignal.timeout(10_000)
  while (lines.filter(line => parts.every(part => line.includes(part))).length < count) await once(changed, 'line', { signal })
}

const showMessage = (name, topic, payload, packet) => show('message', name, { topic, payload: payload.toString(), retain: packet.retain })
const showAnswer = (name, error, packet) => error
  ? show('refused', name, { reason: error.code, text: error.message })
  : show('acked', name, { reason: packet?.reasonCode })
const publish = (name, client, topic, payload, options) => new Promise(resolve => {
  client.publish(topic, payload, { qos: 1, ...options }, (error, packet) => resolve(showAnswer(name, error, packet)))
})
const subscribe = (name, client, filter) => new Promise(resolve => {
  client.subscribe(filter, { qos: 1 }, (error, granted) => {
    if (error) show('subscribed', name, { text: error.message, reasons: error.packet?.granted }) // refused
    else show('subscribed', name, { reasons: granted.map(({ qos }) => qos) })
    resolve()
  })
})
const close = client => new Promise(resolve => {
  client.removeAllListeners('close')
  // With force when the connection is gone: it would wait for answers that never come.
  client.end(!client.connected, {}, resolve)
})

/** A client that is connected, and does not connect again by itself. */
async function open (name, user, options) {
  const client = mqtt.connect({ host, port, protocolVersion, username: user, reconnectPeriod: 0, resubscribe: false, ...options })
  let reason
  client.on('message', (...args) => showMessage(name, ...args))
  client.on('disconnect', packet => { reason = packet.reasonCode })
  client.on('error', error => show('error', name, { text: error.message }))
  client.on('close', () => show('lost', name, { reason }))
  const [{ sessionPresent }] = await once(client, 'connect')
  show('connected', name, { session: sessionPresent })
  return client
}

const kept = clientId => ({ clientId, clean: false, properties: { sessionExpiryInterval: 3600 } })

async function message () {
  // <snippet>
  const bob = mqtt.connect({
    host,
    port,
    protocolVersion, // 4 is MQTT 3.1.1, 5 is MQTT 5
    username: 'bob',
    clientId: 'bob-phone',
    clean: false, // with the next line: what comes while bob is away waits for him
    properties: { sessionExpiryInterval: 30 * 24 * 3600 }, // MQTT 5 alone has this
    reconnectOnConnackError: true // "try again later" is no reason to give up
  })
  bob.on('message', (topic, payload, packet) => showMessage('bob', topic, payload, packet))
  bob.on('error', error => show('error', 'bob', { text: error.message }))
  bob.subscribe('im/u/bob/#', { qos: 1 }, (error, granted) => {
    if (error) show('error', 'bob', { text: error.message })
    else show('subscribed', 'bob', { reasons: granted.map(({ qos }) => qos) }) // 128 and above is a refusal
  })

  const alice = mqtt.connect({ host, port, protocolVersion, username: 'alice' })
  alice.on('error', error => show('error', 'alice', { text: error.message }))
  // Your own id for the message makes sending it again harmless, whatever happens to the connection.
  const hello = JSON.stringify({ cid: 'c-1', body: 'hello' })
  alice.publish('im/to/u/bob', hello, { qos: 1 }, (error, packet) => showAnswer('alice', error, packet))
  // </snippet>
  await wait(1, 'message', 'hello', '"client":"bob"')
  await wait(1, 'acked')
  await Promise.all([close(alice), close(bob)])
}

async function offline () {
  const [user, to] = ['bob-offline', 'im/to/u/bob-offline']
  const before = await open('bob', user, kept('phone'))
  await subscribe('bob', before, `im/u/${user}/inbox`)
  await close(before)
  const alice = await open('alice', 'alice-offline')
  for (const text of ['one', 'two', 'three']) await publish('alice', alice, to, text)
  const bob = await open('bob', user, kept('phone'))
  await wait(3, '"message"', '"client":"bob"')
  await Promise.all([close(alice), close(bob)])
}

async function group () {
  const bob = await open('bob', 'bob-group')
  await subscribe('bob', bob, 'im/g/+')
  const alice = await open('alice', 'alice-group')
  await publish('alice', alice, 'im/rpc/groups.create', JSON.stringify({ rid: '1', gid: 'team', members: ['bob-group'] }))
  await wait(1, 'im/u/alice-group/rpc/1')
  await publish('alice', alice, 'im/to/g/team', 'hello team')
  await wait(1, '"client":"bob"', 'hello team')
  await Promise.all([close(alice), close(bob)])
}

async function refused () {
  const bob = await open('bob', 'bob-refused')
  await publish('bob', bob, 'im/rpc/blocks.add', '{"rid":"1","user":"alice-refused"}')
  await wait(1, 'im/u/bob-refused/rpc/1')
  const alice = await open('alice', 'alice-refused')
  await publish('alice', alice, 'im/to/u/bob-refused', 'hello?')
  await wait(1, 'im/u/alice-refused/notice')
  await subscribe('alice', alice, 'im/u/bob-refused/inbox')
  await Promise.all([close(alice), close(bob)])
}

async function retained () {
  const alice = await open('alice', 'alice')
  await publish('alice', alice, 'home/lamp', 'on', { retain: true })
  const bob = await open('bob', 'bob')
  await subscribe('bob', bob, 'home/#')
  await wait(1, '"client":"bob"', '"message"')
  await publish('alice', alice, 'home/lamp', '', { retain: true })
  const carol = await open('carol', 'carol')
  await subscribe('carol', carol, 'home/#')
  await publish('alice', alice, 'home/bell', 'ring')
  await wait(1, '"client":"carol"', 'ring')
  await Promise.all([close(alice), close(bob), close(carol)])
}

async function shared () {
  const workers = [await open('one', 'worker'), await open('two', 'worker')]
  await subscribe('one', workers[0], '$share/crew/jobs/#')
  await subscribe('two', workers[1], '$share/crew/jobs/#')
  if (version === '5') {
    const alice = await open('alice', 'alice')
    for (let n = 0; n < 10; n++) await publish('alice', alice, 'jobs/new', `job ${n}`)
    await wait(10, '"message"', 'job')
    await close(alice)
  }
  await Promise.all(workers.map(close))
}

async function large () {
  const options = kept('laptop')
  const alice = await open('alice', 'alice-large', options)
  const asked = publish('alice', alice, 'im/to/u/bob-large', 'x'.repeat(1024 * 1024))
  await Promise.race([asked, wait(1, '"lost"')])
  if (version === '3') await wait(1, 'im/u/alice-large/notice')
  await close(alice)
  const again = await open('again', 'alice-large', options)
  await publish('again', again, 'im/to/u/bob-large', 'small')
  await close(again)
}

async function takeover () {
  const one = await open('one', 'alice-takeover', { clientId: 'phone' })
  const two = await open('two', 'alice-takeover', { clientId: 'phone' })
  await wait(1, '"lost"', '"one"')
  await publish('two', two, 'im/to/u/bob-takeover', 'from two')
  await Promise.all([close(one), close(two)])
}

async function will () {
  const will = { topic: 'im/to/u/bob-will', payload: 'alice is gone', qos: 1 }
  await open('alice', 'alice-will', { will })
  show('end', '')
  process.kill(process.pid, 'SIGKILL')
}

const all = { message, offline, group, refused, retained, shared, large, takeover, will }
for (const name of cases) {
  now = name
  lines = []
  await all[name]()
  show('end', '')
}
