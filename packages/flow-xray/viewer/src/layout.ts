// Place a small graph: dagre for what may have cycles, one pass for a tree.
//
// Only a folded graph is laid out: at most MAX_NODES nodes and MAX_EDGES edges, which dagre places
// in a moment. So it runs without a worker, and the page's policy needs none (docs/design/0004).
// Weights are integers: with fractions dagre 3.1 fails for some graphs of several parts. If it
// throws anyway, nodes are placed in columns by their distance from the roots.

import { graphlib, layout } from "@dagrejs/dagre";
import { visible } from "./format";

export const MAX_NODES = 60;
export const MAX_EDGES = 90;

export interface GraphNode {
  key: string;
  label: string;
  note: string;
  kind: string;
  span: number; // selected by a click; -1 for none
  isBad: boolean;
  isFaint: boolean; // possible, but did not run
  loops: number; // direct recursive calls
  hint: string;
}

export interface GraphEdge {
  from: number;
  to: number;
  calls: number;
  style: "executed" | "possible" | "runtime";
}

export interface Placed {
  width: number;
  height: number;
  x: number[]; // middle of each node
  y: number[];
  wide: number[];
  high: number;
  paths: { x: number; y: number }[][];
}

function widthOf(node: GraphNode): number {
  return Math.min(232, Math.max(96, 7 * Math.max(visible(node.label).length, node.note.length * 0.86) + 34));
}

const HIGH = 46;

export function place(nodes: GraphNode[], edges: GraphEdge[]): Placed {
  try {
    return placeByDagre(nodes, edges);
  } catch {
    return placeInColumns(nodes, edges);
  }
}

function placeByDagre(nodes: GraphNode[], edges: GraphEdge[]): Placed {
  const graph = new graphlib.Graph({ multigraph: false });
  graph.setGraph({ rankdir: "LR", nodesep: 16, ranksep: 58, edgesep: 10, marginx: 20, marginy: 20 });
  graph.setDefaultEdgeLabel(() => ({}));
  nodes.forEach((node, k) => graph.setNode(String(k), { width: widthOf(node), height: HIGH }));
  for (const edge of edges) graph.setEdge(String(edge.from), String(edge.to), { weight: 1 + Math.round(Math.log2(edge.calls)), width: 30, height: 14, labelpos: "c" });
  layout(graph);
  const at = nodes.map((_, k) => ({ ...(graph.node(String(k)) as { x: number; y: number }) }));
  const whole = graph.graph() as { width?: number; height?: number };
  const wide = nodes.map(widthOf);
  // dagre centres the boxes of a rank; left-aligned names are easier to read.
  const left = new Map<number, number>();
  at.forEach(({ x }, k) => left.set(Math.round(x), Math.min(left.get(Math.round(x)) ?? Infinity, x - wide[k] / 2)));
  at.forEach((each, k) => (each.x = left.get(Math.round(each.x))! + wide[k] / 2));
  const paths = edges.map(({ from, to }) => {
    const points = (graph.edge(String(from), String(to)) as { points: { x: number; y: number }[] }).points;
    // dagre ends an arrow anywhere on the border; from right side to left side is easier to read.
    if (at[to].x - wide[to] / 2 > at[from].x + wide[from] / 2) {
      points[0] = { x: at[from].x + wide[from] / 2, y: at[from].y };
      points[points.length - 1] = { x: at[to].x - wide[to] / 2, y: at[to].y };
    }
    return points;
  });
  return { width: whole.width ?? 100, height: whole.height ?? 100, x: at.map((each) => each.x), y: at.map((each) => each.y), wide, high: HIGH, paths };
}

function placeInColumns(nodes: GraphNode[], edges: GraphEdge[]): Placed {
  const depth: number[] = new Array(nodes.length).fill(0);
  for (let round = 0, isMoved = true; isMoved && round < 20; round++) {
    isMoved = false;
    for (const { from, to } of edges) {
      if (depth[to] > depth[from] || depth[from] > 20) continue;
      depth[to] = depth[from] + 1;
      isMoved = true;
    }
  }
  const wide = nodes.map(widthOf);
  const filled: number[] = [];
  const x = nodes.map((_, k) => 20 + depth[k] * 290 + wide[k] / 2);
  const y = nodes.map((_, k) => 20 + HIGH / 2 + (filled[depth[k]] = (filled[depth[k]] ?? -1) + 1) * (HIGH + 16));
  const paths = edges.map(({ from, to }) => [{ x: x[from] + wide[from] / 2, y: y[from] }, { x: x[to] - wide[to] / 2, y: y[to] }]);
  return { width: 320 + 290 * Math.max(0, ...depth), height: 40 + (HIGH + 16) * (1 + Math.max(0, ...filled.filter((each) => each !== undefined))), x, y, wide, high: HIGH, paths };
}

/** A tree in columns by depth: leaves below each other, callers at the middle of their callees. */
export function placeTree(nodes: GraphNode[], parent: Int32Array): Placed {
  const high = 30;
  const wide = nodes.map((node) => Math.min(190, widthOf(node)));
  const x: number[] = [];
  const y: number[] = new Array(nodes.length).fill(-1);
  const depth: number[] = [];
  nodes.forEach((_, k) => {
    depth.push(parent[k] < 0 ? 0 : depth[parent[k]] + 1);
    x.push(20 + depth[k] * 238 + wide[k] / 2);
  });
  const first: number[] = new Array(nodes.length).fill(-1);
  const last: number[] = new Array(nodes.length).fill(-1);
  parent.forEach((p, k) => {
    if (p < 0) return;
    if (first[p] < 0) first[p] = k;
    last[p] = k;
  });
  let bottom = 20;
  for (let k = 0; k < nodes.length; k++) {
    if (first[k] >= 0) continue;
    y[k] = bottom + high / 2;
    bottom += high + 10;
  }
  for (let k = nodes.length - 1; k >= 0; k--) if (first[k] >= 0) y[k] = (y[first[k]] + y[last[k]]) / 2;
  const paths: { x: number; y: number }[][] = [];
  parent.forEach((p, k) => {
    if (p < 0) return;
    const from = { x: x[p] + wide[p] / 2, y: y[p] };
    const to = { x: x[k] - wide[k] / 2, y: y[k] };
    const middle = to.x - 20;
    paths.push([from, { x: middle, y: from.y }, { x: middle, y: to.y }, to]);
  });
  return { width: 40 + 238 * Math.max(0, ...depth) + 200, height: bottom + 10, x, y, wide, high, paths };
}
