// Numbers in short form, and text with its control characters made visible.

export function duration(ns: number): string {
  if (ns < 0) return "";
  if (ns < 1e3) return `${Math.round(ns)} ns`;
  if (ns < 1e6) return `${short(ns / 1e3)} µs`;
  if (ns < 1e9) return `${short(ns / 1e6)} ms`;
  const s = ns / 1e9;
  if (s < 60) return `${s < 10 ? trim(s.toFixed(2)) : trim(s.toFixed(1))} s`;
  const whole = Math.round(s);
  if (whole < 3600) return two(Math.floor(whole / 60), "m", whole % 60, "s");
  const minutes = Math.round(s / 60);
  if (minutes < 1440) return two(Math.floor(minutes / 60), "h", minutes % 60, "m");
  const hours = Math.round(s / 3600);
  return two(Math.floor(hours / 24), "d", hours % 24, "h");
}

function two(large: number, unit: string, small: number, smaller: string): string {
  return small ? `${large} ${unit} ${small} ${smaller}` : `${large} ${unit}`;
}

function short(value: number): string {
  return value < 10 ? trim(value.toFixed(1)) : String(Math.round(value));
}

function trim(text: string): string {
  return text.replace(/\.?0+$/, "");
}

export function count(value: number): string {
  return value.toLocaleString("en-US");
}

export function plural(value: number, one: string, many = one + "s"): string {
  return value === 1 ? one : many;
}

export function usd(value: number): string {
  if (value === 0) return "$0";
  if (value < 0.00005) return "<$0.0001";
  const sum = Number(value.toPrecision(12)); // the sum of the same costs does not depend on their order
  return "$" + (sum < 1 ? sum.toFixed(4) : sum.toFixed(2));
}

/** UTC time of a moment given in Unix nanoseconds: "02:14:07.318". */
export function clock(ns: bigint): string {
  return iso(ns).slice(11, 23);
}

export function day(ns: bigint): string {
  return iso(ns).slice(0, 10);
}

/** ISO 8601 with microseconds. */
function iso(ns: bigint): string {
  const ms = Number(ns / 1_000_000n);
  const date = new Date(ms);
  if (Number.isNaN(date.getTime())) return "unknown time";
  const micros = String((ns / 1_000n) % 1_000n).padStart(3, "0");
  return date.toISOString().replace("Z", micros + "Z");
}

const TRICKS = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/**
 * Make control characters and direction overrides visible, so that no text can hide or reverse
 * others.
 */
export function visible(text: string): string {
  return text.replace(TRICKS, (c) => {
    const code = c.charCodeAt(0);
    if (code < 0x20) return String.fromCharCode(0x2400 + code);
    if (code === 0x7f) return "\u2421";
    return `\u27e8U+${code.toString(16).toUpperCase().padStart(4, "0")}\u27e9`;
  });
}
