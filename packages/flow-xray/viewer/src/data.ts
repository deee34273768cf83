// The trace in the page: typed columns in pre-order; payloads are inflated when they are shown.
//
// Spans are numbered in pre-order: the subtree of span i is [i, end[i]), and a parent has a smaller
// number than its children. Everything derived below takes one linear pass, forwards or backwards;
// nothing recurses over the tree.

import { block, Chunks, fromPlanes, idsFrom, Lines, parse, unfold } from "./blocks";

export type Json = null | boolean | number | bigint | string | Json[] | { [key: string]: Json };
export type JsonObject = { [key: string]: Json };

export type Status = "ok" | "error" | "open" | "interrupted" | "cancelled";

export interface SpanError {
  type?: Json;
  message?: Json;
  traceback?: Json;
  origin?: Json;
}

export interface Payload {
  input?: Json;
  output?: Json;
  error?: SpanError;
  meta?: JsonObject;
  tags?: JsonObject[];
}

interface Head {
  version: number;
  name: string;
  trace_id: string;
  started_at_ns: string;
  length_ns: number;
  count: number;
  meta: JsonObject;
  value: Json;
  kinds: string[];
  threads: string[];
  statuses: Status[];
  models: string[];
  codes: string[]; // locations of functions
  strings: string[];
  repeats: [first: number, calls: number, totalNs: number][];
  columns: [name: string, planes: number, offset: number][];
  ids: string[] | null;
  payload_starts: number[];
  value_starts: number[];
}

const FLAG_TOKENS = 1;
const FLAG_ERROR = 2;
const FLAG_PROPAGATED = 4; // the error was raised by a span below and is shown there

export interface Totals {
  lengthNs: number;
  spans: number;
  modelCalls: number;
  inputTokens: number;
  outputTokens: number;
  cachedTokens: number;
  costUsd: number;
  priced: number;
  unpriced: number;
  errors: number;
  interrupted: number;
}

export class Trace {
  readonly start: Float64Array;
  readonly duration: Float64Array; // -1: no end
  readonly stop: Float64Array; // where the bar ends
  readonly cost: Float64Array;
  readonly parent: Int32Array;
  readonly name: Uint32Array;
  readonly detail: Uint32Array;
  readonly kind: Uint32Array;
  readonly thread: Uint32Array;
  readonly model: Uint32Array; // 0: none, else the position in head.models + 1
  readonly code: Uint32Array;
  readonly input: Float64Array;
  readonly output: Float64Array;
  readonly cached: Float64Array;
  readonly status: Uint8Array;
  readonly flags: Uint8Array;
  readonly depth: Int32Array;
  readonly end: Int32Array; // first span after the subtree
  readonly self: Float64Array; // time in no child; children that overlap count once
  readonly errorsBelow: Int32Array;
  readonly count: number;
  readonly startedAt: bigint;
  readonly totals: Totals;
  readonly details: Lines;
  private readonly payloads: Chunks;
  private readonly values: Chunks;
  private byId: Map<string, number> | null = null;
  private wholeIds: BigUint64Array | null = null;

  constructor(
    readonly head: Head,
    columns: Uint8Array,
    private readonly ids: Uint8Array,
    details: Uint8Array,
    letter: string,
  ) {
    const n = (this.count = head.count);
    // Beyond 104 days nanoseconds come as BigInt, which no arithmetic here needs.
    head.length_ns = Number(head.length_ns);
    for (const each of head.repeats) each[2] = Number(each[2]);
    const found = new Map<string, Float64Array>();
    for (const [name, count, offset] of head.columns) {
      found.set(name, count ? fromPlanes(columns, offset, count, n) : new Float64Array(columns.slice(offset, offset + 8 * n).buffer));
    }
    const column = (name: string) => found.get(name) ?? new Float64Array(n);
    this.start = unfold(column("start"));
    this.duration = column("duration");
    for (let i = 0; i < n; i++) this.duration[i]--;
    this.cost = column("cost");
    this.parent = new Int32Array(column("parent"));
    for (let i = 0; i < n; i++) this.parent[i] = this.parent[i] ? i - this.parent[i] : -1;
    this.name = new Uint32Array(column("name"));
    this.detail = new Uint32Array(column("detail"));
    this.kind = new Uint32Array(column("kind"));
    this.thread = new Uint32Array(column("thread"));
    this.code = new Uint32Array(column("code"));
    this.model = new Uint32Array(column("model"));
    this.input = column("input");
    this.output = column("output");
    this.cached = column("cached");
    this.status = new Uint8Array(column("status"));
    this.flags = new Uint8Array(column("flags"));
    this.startedAt = BigInt(head.started_at_ns);
    this.payloads = new Chunks(`${letter}-p`, head.payload_starts);
    this.values = new Chunks(`${letter}-v`, head.value_starts);

    this.details = new Lines(details);
    this.depth = new Int32Array(n);
    this.end = new Int32Array(n);
    this.stop = new Float64Array(n);
    this.self = new Float64Array(n);
    this.errorsBelow = new Int32Array(n);
    this.totals = this.derive();
  }

  private derive(): Totals {
    const { count: n, parent, start, duration, depth, end, stop, self, errorsBelow, status, flags } = this;
    const open = this.head.statuses.indexOf("open");
    const failed = this.head.statuses.indexOf("error");
    const lost = this.head.statuses.indexOf("interrupted");
    const llm = this.head.kinds.indexOf("llm");
    const length = this.head.length_ns;
    for (let i = 0; i < n; i++) {
      depth[i] = parent[i] < 0 ? 0 : depth[parent[i]] + 1;
      end[i] = i + 1;
      stop[i] = duration[i] >= 0 ? start[i] + duration[i] : status[i] === open ? length : start[i];
    }
    const totals: Totals = {
      lengthNs: length, spans: n, modelCalls: 0, inputTokens: 0, outputTokens: 0, cachedTokens: 0,
      costUsd: 0, priced: 0, unpriced: 0, errors: 0, interrupted: 0,
    };
    const tokensBelow = new Uint8Array(n);
    const costBelow = new Uint8Array(n);
    for (let i = n - 1; i >= 0; i--) {
      const p = parent[i];
      const isError = status[i] === failed && !(flags[i] & FLAG_PROPAGATED);
      const hasTokens = (flags[i] & FLAG_TOKENS) !== 0;
      const hasCost = !Number.isNaN(this.cost[i]);
      if (isError) totals.errors++;
      if (status[i] === lost) totals.interrupted++;
      if (this.kind[i] === llm) totals.modelCalls++;
      // A span with the sum of its children must not be counted again.
      if (hasTokens && !tokensBelow[i]) {
        totals.inputTokens += this.input[i];
        totals.outputTokens += this.output[i];
        totals.cachedTokens += this.cached[i];
        if (!hasCost && !costBelow[i]) totals.unpriced++;
      }
      if (hasCost && !costBelow[i]) {
        totals.costUsd += this.cost[i];
        totals.priced++;
      }
      if (p >= 0) {
        if (end[i] > end[p]) end[p] = end[i];
        if (duration[p] < 0 && stop[i] > stop[p]) stop[p] = stop[i];
        errorsBelow[p] += errorsBelow[i] + (isError ? 1 : 0);
        if (hasTokens || tokensBelow[i]) tokensBelow[p] = 1;
        if (hasCost || costBelow[i]) costBelow[p] = 1;
      }
    }
    const coveredUntil = new Float64Array(n);
    for (let i = 0; i < n; i++) {
      self[i] = Math.max(0, stop[i] - start[i]);
      coveredUntil[i] = start[i];
      const p = parent[i];
      if (p >= 0) {
        const from = Math.max(start[i], coveredUntil[p]);
        const until = Math.min(stop[i], stop[p]);
        if (until > from) {
          self[p] = Math.max(0, self[p] - (until - from));
          coveredUntil[p] = until;
        }
      }
    }
    return totals;
  }

  nameOf(i: number): string {
    return this.head.strings[this.name[i]];
  }

  detailOf(i: number): string {
    return this.details.at(this.detail[i]);
  }

  /** The name of the model, or "". */
  modelOf(i: number): string {
    return this.model[i] ? this.head.models[this.model[i] - 1] : "";
  }

  /** The location of the function, "path/file.py:12", or "". */
  codeOf(i: number): string {
    return this.head.codes[this.code[i]];
  }

  kindOf(i: number): string {
    return this.head.kinds[this.kind[i]];
  }

  statusOf(i: number): Status {
    return this.head.statuses[this.status[i]];
  }

  threadOf(i: number): string {
    return this.head.threads[this.thread[i]];
  }

  idOf(i: number): string {
    if (this.head.ids) return this.head.ids[i];
    this.wholeIds ??= idsFrom(this.ids, this.count);
    return this.wholeIds[i].toString(16).padStart(16, "0");
  }

  find(id: string): number {
    if (!this.byId) {
      this.byId = new Map();
      for (let i = this.count - 1; i >= 0; i--) this.byId.set(this.idOf(i), i);
    }
    return this.byId.get(id) ?? -1;
  }

  hasTokens(i: number): boolean {
    return (this.flags[i] & FLAG_TOKENS) !== 0;
  }

  /** Did this span raise its error itself, rather than propagate that of a span below? */
  isErrorOrigin(i: number): boolean {
    return this.statusOf(i) === "error" && !(this.flags[i] & FLAG_PROPAGATED);
  }

  hasError(i: number): boolean {
    return (this.flags[i] & FLAG_ERROR) !== 0;
  }

  /** The payload of a span, with every reference resolved. */
  async payload(i: number): Promise<Payload> {
    return (await this.resolve(await this.payloads.item(i))) as Payload;
  }

  /** Replace the references to pooled values. */
  async resolve(value: Json): Promise<Json> {
    for (;;) {
      const missing = new Set<number>();
      const whole = this.substitute(value, missing);
      if (!missing.size) return whole;
      await Promise.all([...missing].map((chunk) => this.values.load(chunk)));
    }
  }

  private substitute(value: Json, missing: Set<number>): Json {
    if (Array.isArray(value)) return value.map((item) => this.substitute(item, missing));
    if (value === null || typeof value !== "object") return value;
    const keys = Object.keys(value);
    if (keys.length === 1) {
      const reference = value.$ref;
      if (typeof reference === "number") {
        const held = this.values.now(reference);
        if (held === undefined) {
          missing.add(this.values.of(reference));
          return null;
        }
        return this.substitute(held, missing);
      }
      const raw = value.$raw;
      if (raw !== undefined && raw !== null && typeof raw === "object" && !Array.isArray(raw)) return this.members(raw, missing);
    }
    return this.members(value, missing);
  }

  private members(value: JsonObject, missing: Set<number>): JsonObject {
    const out: JsonObject = Object.create(null); // a key may be called __proto__
    for (const key of Object.keys(value)) out[key] = this.substitute(value[key], missing);
    return out;
  }

  /**
   * Search the payloads, chunk by chunk; `found` is called with each span whose values contain
   * `needle`.
   */
  async searchPayloads(needle: string, isStale: () => boolean, found: (index: number) => void): Promise<void> {
    const pooled = new Set<number>();
    for (let chunk = 0; chunk < this.values.starts.length; chunk++) {
      const items = await this.values.load(chunk);
      if (isStale()) return;
      items.forEach((item, k) => {
        if (contains(item, needle, pooled)) pooled.add(this.values.starts[chunk] + k);
      });
    }
    for (let chunk = 0; chunk < this.payloads.starts.length; chunk++) {
      const items = await this.payloads.load(chunk);
      if (isStale()) return;
      items.forEach((item, k) => {
        if (contains(item, needle, pooled)) found(this.payloads.starts[chunk] + k);
      });
    }
  }
}

function contains(value: Json, needle: string, pooled: Set<number>): boolean {
  if (typeof value === "string") return value.toLowerCase().includes(needle);
  if (typeof value === "number" || typeof value === "bigint" || typeof value === "boolean") return String(value) === needle;
  if (Array.isArray(value)) return value.some((item) => contains(item, needle, pooled));
  if (value === null) return false;
  if (typeof value.$ref === "number" && pooled.has(value.$ref)) return true;
  return Object.keys(value).some((key) => key.toLowerCase() === needle || contains(value[key], needle, pooled));
}

export async function loadTrace(letter = "x"): Promise<Trace> {
  const [head, columns, ids, details] = await Promise.all(["head", "cols", "ids", "det"].map((name) => block(`${letter}-${name}`)));
  return new Trace(parse(new TextDecoder().decode(head)) as unknown as Head, columns, ids, details, letter);
}

/** The coverage of the source: what could have been called, and which branches were not taken. */
export interface Context {
  nodes: { id: string; name: string; file: string; line: number; executed: boolean }[];
  edges: { from: string; to: string; how: "executed" | "possible" | "runtime" }[];
  branches: { file: string; line: number; text: string; taken: boolean }[];
}

/** The rows of a comparison; -1 where a run has no such call. */
export interface Comparison {
  before: string;
  after: string;
  ignore: string[];
  totals: [name: string, before: string, after: string][];
  what: string; // one mark for each row: = ~ + - >
  old: number[];
  new: number[];
  depth: number[];
  facts: Record<string, string[]>;
}

/** A block of JSON that not every page has. */
export async function loadJson<T>(id: string): Promise<T | null> {
  if (!document.getElementById(id)) return null;
  return parse(new TextDecoder().decode(await block(id))) as unknown as T;
}
