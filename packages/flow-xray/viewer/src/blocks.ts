// The data blocks of the page: inflated, parsed, decoded from planes of bytes.

import type { Json } from "./data";

function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  const native = (Uint8Array as unknown as { fromBase64?: (text: string) => Uint8Array<ArrayBuffer> }).fromBase64;
  if (native) return native.call(Uint8Array, text);
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

async function inflate(text: string): Promise<Uint8Array> {
  const stream = new Blob([fromBase64(text)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

export async function block(id: string): Promise<Uint8Array> {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the block ${id} is missing`);
  return inflate(element.textContent ?? "");
}

/** Parse JSON; integers above 2^53 stay exact where the browser supports it. */
export function parse(text: string): Json {
  if (!/\d{16}/.test(text)) return JSON.parse(text);
  return JSON.parse(text, function (_key: string, value: unknown, context?: { source?: string }) {
    if (typeof value === "number" && Number.isInteger(value) && !Number.isSafeInteger(value)) {
      const source = context?.source;
      if (source && /^-?\d+$/.test(source)) return BigInt(source);
    }
    return value;
  } as (this: unknown, key: string, value: unknown) => unknown);
}

/** Decode numbers from planes: the lowest byte of each, then the next byte of each, and so on. */
export function fromPlanes(bytes: Uint8Array, offset: number, count: number, n: number): Float64Array {
  const out = new Float64Array(n);
  let weight = 1;
  for (let plane = 0; plane < count; plane++, weight *= 256) {
    const from = offset + plane * n;
    for (let i = 0; i < n; i++) out[i] += bytes[from + i] * weight;
  }
  return out;
}

/** Decode folded signs (even and odd) and differences of neighbours. */
export function unfold(values: Float64Array): Float64Array {
  let last = 0;
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    last += value % 2 ? -(value + 1) / 2 : value / 2;
    values[i] = last;
  }
  return values;
}

/** Many short texts in one block, one a line; only those that are drawn are decoded. */
export class Lines {
  private readonly starts: Uint32Array;
  private readonly decoder = new TextDecoder();
  private split: string[] | null = null;

  constructor(private readonly bytes: Uint8Array) {
    let lines = 1;
    for (let i = 0; i < bytes.length; i++) if (bytes[i] === 10) lines++;
    this.starts = new Uint32Array(lines + 1);
    let line = 0;
    for (let i = 0; i < bytes.length; i++) if (bytes[i] === 10) this.starts[++line] = i + 1;
    this.starts[lines] = bytes.length + 1;
  }

  at(line: number): string {
    return this.decoder.decode(this.bytes.subarray(this.starts[line], this.starts[line + 1] - 1));
  }

  /** All texts in lower case, for searching. */
  all(): string[] {
    return (this.split ??= this.decoder.decode(this.bytes).toLowerCase().split("\n"));
  }
}

export function idsFrom(planes: Uint8Array, n: number): BigUint64Array {
  const bytes = new Uint8Array(8 * n);
  for (let k = 0; k < 8; k++) for (let i = 0; i < n; i++) bytes[8 * i + k] = planes[k * n + i];
  const ids = new BigUint64Array(bytes.buffer);
  for (let i = 1; i < n; i++) ids[i] += ids[i - 1]; // wraps at 2^64, as the differences do
  return ids;
}

/**
 * A chunk as it is stored: a list, or one list for each member, which are joined; null is left out.
 */
function itemsOf(stored: Json): Json[] {
  if (Array.isArray(stored)) return stored;
  const items: { [key: string]: Json }[] = [];
  for (const [member, values] of Object.entries(stored as { [key: string]: Json[] })) {
    values.forEach((value, i) => {
      items[i] ??= {};
      if (value !== null) items[i][member] = value;
    });
  }
  return items;
}

export class Chunks {
  private readonly held = new Map<number, Promise<Json[]>>();
  private readonly ready = new Map<number, Json[]>();

  constructor(
    private readonly prefix: string,
    readonly starts: number[],
  ) {}

  /** The number of the chunk that holds item `index`. */
  of(index: number): number {
    let low = 0;
    let high = this.starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.starts[middle] <= index) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  load(chunk: number): Promise<Json[]> {
    let promise = this.held.get(chunk);
    if (!promise) {
      promise = block(this.prefix + chunk).then((bytes) => {
        const items = itemsOf(parse(new TextDecoder().decode(bytes)));
        this.ready.set(chunk, items);
        return items;
      });
      this.held.set(chunk, promise);
      if (this.held.size > 24) {
        const oldest = this.held.keys().next().value!;
        this.held.delete(oldest);
        this.ready.delete(oldest);
      }
    }
    return promise;
  }

  async item(index: number): Promise<Json> {
    const chunk = this.of(index);
    return (await this.load(chunk))[index - this.starts[chunk]];
  }

  /** The item if its chunk is loaded, else undefined. */
  now(index: number): Json | undefined {
    const chunk = this.of(index);
    return this.ready.get(chunk)?.[index - this.starts[chunk]];
  }
}
