// The search: words that must all match, and filters like kind:llm status:error took>2s
// tokens>1000.

import type { Trace } from "./data";

interface Filter {
  test(trace: Trace, i: number): boolean;
}

export interface Query {
  filters: Filter[];
  words: string[];
}

const UNITS: Record<string, number> = { ns: 1, us: 1e3, "µs": 1e3, ms: 1e6, s: 1e9, m: 60e9, h: 3600e9 };

export function parseQuery(text: string): Query | null {
  const query: Query = { filters: [], words: [] };
  for (const match of text.matchAll(/(?:(\w+:))?"([^"]*)"|(\S+)/g)) {
    const word = match[3] ?? (match[1] ?? "") + match[2];
    const filter = match[3] === undefined && !match[1] ? null : asFilter(word);
    if (filter) query.filters.push(filter);
    else {
      const plain = word.toLowerCase();
      if (plain) query.words.push(plain);
    }
  }
  return query.filters.length || query.words.length ? query : null;
}

function asFilter(word: string): Filter | null {
  const named = /^(kind|status|name|thread|model):(.+)$/i.exec(word);
  if (named) {
    const wanted = named[2].toLowerCase();
    switch (named[1].toLowerCase()) {
      case "kind":
        return { test: (t, i) => t.kindOf(i).toLowerCase() === wanted };
      case "status":
        return { test: (t, i) => t.statusOf(i) === wanted };
      case "model":
        return { test: (t, i) => t.modelOf(i).toLowerCase().includes(wanted) };
      case "thread":
        return { test: (t, i) => t.threadOf(i).toLowerCase().includes(wanted) };
      default:
        return { test: (t, i) => t.nameOf(i).toLowerCase().includes(wanted) };
    }
  }
  const sized = /^(took|self|tokens)([<>])([\d.]+)(ns|us|\u00b5s|ms|s|m|h)?$/i.exec(word);
  if (sized) {
    const isMore = sized[2] === ">";
    const key = sized[1].toLowerCase();
    const limit = Number(sized[3]) * (key === "tokens" ? 1 : UNITS[(sized[4] ?? "s").toLowerCase()]);
    const read = (t: Trace, i: number) => (key === "tokens" ? t.input[i] + t.output[i] : key === "self" ? t.self[i] : t.stop[i] - t.start[i]);
    return { test: (t, i) => (isMore ? read(t, i) > limit : read(t, i) < limit) };
  }
  return null;
}

/** Mark the spans whose columns match; `searchValues` searches the values afterwards. */
export function searchColumns(trace: Trace, query: Query): Uint8Array {
  const hits = new Uint8Array(trace.count).fill(1);
  for (const filter of query.filters) {
    for (let i = 0; i < trace.count; i++) if (hits[i] && !filter.test(trace, i)) hits[i] = 0;
  }
  for (const word of query.words) {
    const inName = trace.head.strings.map((text) => text.toLowerCase().includes(word));
    const inDetail = trace.details.all().map((text) => text.includes(word));
    for (let i = 0; i < trace.count; i++) {
      if (hits[i] && !inName[trace.name[i]] && !inDetail[trace.detail[i]] && trace.kindOf(i) !== word && !trace.idOf(i).startsWith(word)) hits[i] = 0;
    }
  }
  return hits;
}

/**
 * Add the spans whose values contain the words; resolves with the new marks, or null when none is
 * new.
 */
export async function searchValues(trace: Trace, query: Query, isStale: () => boolean): Promise<Uint8Array | null> {
  if (!query.words.length) return null;
  const all = searchColumns(trace, { filters: query.filters, words: [] });
  for (const word of query.words) {
    const hits = searchColumns(trace, { filters: [], words: [word] });
    await trace.searchPayloads(word, isStale, (i) => (hits[i] = 1));
    if (isStale()) return null;
    for (let i = 0; i < all.length; i++) if (!hits[i]) all[i] = 0;
  }
  return all;
}

/** The rows to show: all that are not folded, or, while searching, the hits and their ancestors. */
export function visibleRows(trace: Trace, folded: Uint8Array, hits: Uint8Array | null): Int32Array {
  const rows = new Int32Array(trace.count);
  let n = 0;
  if (hits) {
    const keep = hits.slice();
    for (let i = trace.count - 1; i >= 0; i--) if (keep[i] && trace.parent[i] >= 0) keep[trace.parent[i]] = 1;
    for (let i = 0; i < trace.count; i++) if (keep[i]) rows[n++] = i;
  } else {
    for (let i = 0; i < trace.count; i = folded[i] ? trace.end[i] : i + 1) rows[n++] = i;
  }
  return rows.subarray(0, n);
}

/** The position of span `i` in the rows, or of the nearest row before it. */
export function rowOf(rows: Int32Array, i: number): number {
  let low = 0;
  let high = rows.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (rows[middle] <= i) low = middle;
    else high = middle - 1;
  }
  return rows.length ? low : -1;
}
