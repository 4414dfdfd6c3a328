/** Plays a history against a server, and says what was wrong. */
import type { Action, History } from './actions.ts'
import { Device } from './device.ts'
import { missing } from './missing.ts'
import { Wire } from './wire.ts'
import { World } from './world.ts'

export interface Outcome { faults: string[], log: string[] }

/** So long nothing has come at the end, milliseconds: nothing more will. Waited for only while something is missing: a machine that does much else takes seconds for a round trip. */
const drainedMs = 30_000
const wide = { clean: false, keep: true, receiveMaximum: 65_535, aliasMaximum: 3, maximumPacketSize: 0, hold: false }
let plays = 0

/** `run` is a name that no other run on the same server has. Never rejects: what goes wrong is a fault. */
export async function play (port: number, run: string, history: History): Promise<Outcome> {
  const own = `${run}${++plays}`
  const people = [...new Set(history.users)].map(number => [`u${number}`, `${own}-${number}`] as const)
  const group = { id: `${own}-g`, members: people.map(([, user]) => user) }
  const world = new World(`h/${own}`, new Map([['root', `h/${own}`], ['g', group.id], ...people]))
  const devices = history.users.map((user, i) => new Device(world, port, `${own}-${user}`, `c${i}`))
  try {
    const helper = await grouped(port, world, group)
    for (const action of history.actions) {
      await one(devices, group, action)
      if (world.faults.length > 0) break
    }
    if (world.faults.length === 0) await drained(world, devices)
    if (world.faults.length === 0) world.faults.push(...missing(world))
    for (const device of devices) await device.discard()
    helper.send({ cmd: 'publish', topic: `h/${own}/r`, payload: '', qos: 0, dup: false, retain: true })
    await helper.leave({ cmd: 'disconnect', reasonCode: 0 })
  } catch (cause) {
    world.fault(cause instanceof Error ? cause.message : String(cause))
    for (const device of devices) await device.cut()
  }
  return { faults: world.faults, log: world.log }
}

async function one (devices: Device[], group: { id: string, members: string[] }, action: Action): Promise<void> {
  if (action.kind === 'settle') {
    await Promise.all(devices.map(async device => { await device.settle() }))
    return
  }
  const device = devices[action.client] as Device
  switch (action.kind) {
    case 'connect': return await device.connect(action)
    case 'cut': return await device.cut()
    case 'disconnect': return await device.disconnect(action.end)
    case 'subscribe': return await device.subscribe(action.wanted, action.identifier)
    case 'unsubscribe': return await device.unsubscribe(action.filters)
    case 'publish': return await device.publish(action.messages, action.until, group)
    case 'finish': return await device.finish()
    case 'hold': return device.hold(action.hold)
    case 'acknowledge': return device.acknowledge(action.at)
  }
}

/** Everybody comes back who has a session, answers everything, and gets what is left. */
async function drained (world: World, devices: Device[]): Promise<void> {
  for (const device of devices) {
    if (!device.connected && device.session?.alive === true) await device.connect(wide)
    device.hold(false)
  }
  for (const device of devices) await device.finish()
  const settled = async (): Promise<void> => { await Promise.all(devices.map(async device => { await device.settle() })) }
  await settled()
  for (let since = Date.now(); missing(world).length > 0 && world.faults.length === 0 && Date.now() < since + drainedMs;) {
    if (await world.nextArrival(200)) since = Date.now()
  }
  // What comes after all that had to come is one too many.
  await settled()
  await settled()
}

/** A client that makes the group of all, and stays. */
async function grouped (port: number, world: World, group: { id: string, members: string[] }): Promise<Wire> {
  const wire = await Wire.open(port, {
    receiveMaximum: 100,
    aliasMaximum: 0,
    maximumPacketSize: 0,
    fault: text => { world.fault(text) },
    onPublish: packet => { if (packet.topic.endsWith('/rpc/1')) made(packet.payload.toString()) },
    onRelease: () => undefined,
    onAnswer: () => undefined,
    onLost: reason => { world.fault(`the helper lost its connection: ${reason}`) }
  })
  let made = (_answer: string): void => undefined
  const answered = new Promise<string>(resolve => { made = resolve })
  const [username = '', ...members] = group.members
  await wire.hello({ clientId: 'helper', clean: true, keepalive: 600, username })
  wire.send({ cmd: 'publish', topic: 'im/rpc/groups.create', payload: JSON.stringify({ rid: '1', gid: group.id, name: 'all', members }), qos: 0, dup: false, retain: false })
  const answer = await answered
  if (!answer.includes('"ok":true')) world.fault(`the group: ${answer}`)
  return wire
}
