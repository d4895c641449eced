// A line for each member over the last hour: inline SVG, so that it follows the theme and has a
// text for who cannot see it.

import type { JSX } from 'preact'
import type { Point } from './api.ts'

const WIDTH = 240
const HEIGHT = 56

export interface Line {
  name: string
  points: { at: number; value: number }[]
}

export function lines(points: Point[], value: (name: string, point: Point) => number | null | undefined): Line[] {
  const names = [...new Set(points.flatMap((point) => Object.keys(point.members)))].sort()
  return names.map((name) => ({
    name,
    points: points.flatMap((point) => {
      const found = value(name, point)
      return found === null || found === undefined ? [] : [{ at: Date.parse(point.at), value: found }]
    }),
  }))
}

/** The points of a line in the picture. */
export function drawn(line: Line, from: number, to: number, most: number): string {
  const x = (at: number): number => ((at - from) / Math.max(1, to - from)) * WIDTH
  const y = (value: number): number => HEIGHT - 2 - (value / Math.max(most, Number.MIN_VALUE)) * (HEIGHT - 6)
  return line.points.map((point) => `${x(point.at).toFixed(1)},${y(point.value).toFixed(1)}`).join(' ')
}

export function Chart({ title, all, unit }: {
  title: string
  all: Line[]
  unit: (value: number) => string
}): JSX.Element {
  const points = all.flatMap((line) => line.points)
  if (new Set(points.map((point) => point.at)).size < 2) return <figure class="chart"><figcaption>{title}: no figures yet</figcaption></figure>
  const values = points.map((point) => point.value)
  const times = points.map((point) => point.at)
  const most = Math.max(...values)
  const from = Math.min(...times)
  const to = Math.max(...times)
  const text = all.map((line) => {
    const last = line.points.at(-1)
    return last ? `${line.name} ${unit(last.value)}` : `${line.name} nothing`
  })
  return (
    <figure class="chart">
      <figcaption>{title}, at most {unit(most)}</figcaption>
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={`${title}, now: ${text.join(', ')}`} preserveAspectRatio="none">
        {all.map((line, index) => (
          <polyline key={line.name} class={`line-${index % 5}`} points={drawn(line, from, to, most)} />
        ))}
      </svg>
      <ul class="legend">
        {text.map((words, index) => (
          <li key={words}><svg viewBox="0 0 24 4" aria-hidden="true"><line x1="0" y1="2" x2="24" y2="2" class={`line-${index % 5}`} /></svg> {words}</li>
        ))}
      </ul>
    </figure>
  )
}
