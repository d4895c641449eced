// Figures and times in words.

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB']

/** Bytes as a person reads them: 412 MB. */
export function bytes(count: number): string {
  let value = count
  let unit = 0
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000
    unit += 1
  }
  const digits = value < 10 && unit > 0 ? 1 : 0
  return `${value.toFixed(digits)} ${UNITS[unit]}`
}

/** A span in its largest unit: 3 min. */
export function span(milliseconds: number): string {
  const seconds = Math.max(0, Math.round(milliseconds / 1000))
  if (seconds < 60) return `${seconds} s`
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`
  if (seconds < 48 * 3600) return `${Math.floor(seconds / 3600)} h`
  return `${Math.floor(seconds / 86_400)} d`
}

/** How long ago something was: 2 s ago. */
export function ago(time: string, now: number): string {
  return `${span(now - Date.parse(time))} ago`
}

/** How long until something comes, or since it came. */
export function until(time: string, now: number): string {
  const left = Date.parse(time) - now
  return left < 0 ? `ended ${span(-left)} ago` : `in ${span(left)}`
}

/** A moment, by this machine's clock: 14:02:10, with its date where that is another. */
export function moment(time: string | number): string {
  const at = new Date(time)
  const clock = at.toTimeString().slice(0, 8)
  const day = isoDay(at)
  return day === isoDay(new Date()) ? clock : `${day} ${clock}`
}

/** A day: 2026-11-25. */
export function isoDay(at: Date): string {
  const two = (value: number): string => String(value).padStart(2, '0')
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`
}

/** A count with its noun. */
export function count(number: number, one: string, many = `${one}s`): string {
  return `${number} ${number === 1 ? one : many}`
}

/** What a leg costs: its stages, who restarts, whether the cluster is out of service. */
export function cost(stages: { impact: unknown; scope: { outage: boolean } }[]): string {
  const restarts = stages.filter(({ impact }) => typeof impact === 'object' && impact !== null && 'restart' in impact).length
  const parts = [count(stages.length, 'stage'), restarts === 0 ? 'no restart' : count(restarts, 'restart')]
  parts.push(stages.some((stage) => stage.scope.outage) ? 'causes an outage' : 'no outage')
  return parts.join(', ')
}

/** The stages of the leg that begins here. */
export function legFrom<S extends { leg?: string | null }>(stages: S[], at: number): S[] {
  const rest = stages.slice(at)
  const end = rest.findIndex((stage) => stage.leg !== rest[0]?.leg)
  return end < 0 ? rest : rest.slice(0, end)
}

/** What a member is to its cluster, and whether it is on its way out. */
export function roleOf(member: { standing: string; leaves?: boolean; behind?: number | null; answer?: { leads: boolean } | null }): string {
  const words: Record<string, string> = {
    new: 'to be added',
    bootstrapped: 'never started',
    added: 'added, not started',
    learner: member.behind == null ? 'learner' : `learner, ${count(member.behind, 'entry', 'entries')} behind`,
    voter: member.answer ? (member.answer.leads ? 'leader' : 'follower') : 'not seen',
    lost: 'lost its data',
    restoring: 'being restored',
    removed: 'removed',
    unmanaged: 'in no file',
  }
  const role = words[member.standing] ?? 'not seen'
  return member.leaves ? `${role}, to be removed` : role
}
