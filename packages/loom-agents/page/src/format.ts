// Numbers and times for people.

export function duration(ms: number): string {
  if (ms < 1) return "<1 ms";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`;
}

export const clock = (at: string) => new Date(at).toLocaleTimeString([], { hour12: false });

export function until(at: string): string {
  const left = new Date(at).getTime() - Date.now();
  if (left <= 0) return "expired";
  const minutes = Math.floor(left / 60_000);
  if (minutes < 90) return `expires in ${Math.max(1, minutes)} min`;
  return minutes < 48 * 60 ? `expires in ${Math.round(minutes / 60)} h` : `expires in ${Math.round(minutes / 1440)} days`;
}

export function money(usd: number | null): string {
  if (usd === null) return "price not known";
  return usd ? `$${usd.toFixed(4)}` : "$0";
}

export const count = (value: number) => value.toLocaleString("en-US");

/** The tone of a status: what its colour says. */
export function tone(status: string): string {
  if (["completed", "answered", "done", "approved", "used"].includes(status)) return "good";
  if (["failed", "parked", "denied", "expired", "cancelled", "in_doubt", "limit"].includes(status)) return "bad";
  if (["waiting", "approval", "question", "pending", "paused"].includes(status)) return "wait";
  return "quiet";
}

/** A text with escapes for characters that are not shown, or that reorder others: nobody decides about what looks different. */
export function visible(text: string): string {
  return text.replace(/[^\P{C}\n\t]|[\p{Zl}\p{Zp}]|(?! )\p{Zs}/gu, (found) => `\\u{${found.codePointAt(0)!.toString(16)}}`);
}
