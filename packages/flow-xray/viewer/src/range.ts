// A range of an axis: its ticks, zooming and panning.

export interface Range {
  from: number;
  until: number;
}

const STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500];
const CLOCK = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400];

/** Round times for about six ticks. */
export function ticksOf(range: Range, wanted = 6): number[] {
  const least = (range.until - range.from) / wanted;
  if (!(least > 0)) return [0];
  let step = 0;
  for (const unit of [1, 1e3, 1e6]) {
    for (const each of STEPS) if (!step && each * unit >= least) step = each * unit;
  }
  for (const each of CLOCK) if (!step && each * 1e9 >= least) step = each * 1e9;
  if (!step) step = Math.ceil(least / 86400e9) * 86400e9;
  const ticks: number[] = [];
  for (let at = Math.ceil(range.from / step) * step; at <= range.until - step * 0.15; at += step) ticks.push(at);
  return ticks;
}

/** The range after zooming by `factor` around the relative position `at`, clamped to the axis. */
export function zoomed(range: Range, at: number, factor: number, whole: number): Range {
  const length = Math.min(whole, Math.max(Math.min(10, whole), (range.until - range.from) * factor));
  return inside(range.from + at * (range.until - range.from - length), length, whole);
}

/** The range shifted by a fraction of its length. */
export function moved(range: Range, part: number, whole: number): Range {
  const length = range.until - range.from;
  return inside(range.from + length * part, length, whole);
}

/** A range of this length that starts here, or as near as the axis allows. */
export function inside(from: number, length: number, whole: number): Range {
  const start = Math.min(Math.max(0, from), Math.max(0, whole - length));
  return { from: start, until: start + length };
}
