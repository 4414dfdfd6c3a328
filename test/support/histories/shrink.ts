/** Makes a history that fails a short one that fails. */
import type { Action, History } from './actions.ts'

/** `fails` says whether a history fails; it may play it several times. */
export async function shrunk (history: History, fails: (history: History) => Promise<boolean>): Promise<History> {
  let best = history
  const attempt = async (actions: Action[]): Promise<boolean> => {
    const tried = { ...best, actions }
    if (!await fails(tried)) return false
    best = tried
    return true
  }
  for (let size = Math.ceil(best.actions.length / 2); ; size = Math.ceil(size / 2)) {
    let fewer = false
    for (let at = 0; at < best.actions.length;) {
      if (await attempt(best.actions.filter((_, i) => i < at || i >= at + size))) fewer = true
      else at += size
    }
    if (size > 1) continue
    for (const [i, action] of best.actions.entries()) {
      for (const smaller of parts(action)) if (await attempt(best.actions.map((one, j) => j === i ? smaller : one))) fewer = true
    }
    if (!fewer) return best
  }
}

/** The same action with less in it. */
function parts (action: Action): Action[] {
  if (action.kind === 'publish' && action.messages.length > 1) return action.messages.map((_, i) => ({ ...action, messages: action.messages.filter((_message, j) => j !== i) }))
  if (action.kind === 'subscribe' && action.wanted.length > 1) return action.wanted.map((_, i) => ({ ...action, wanted: action.wanted.filter((_one, j) => j !== i) }))
  return []
}
