// Build the page's script and style (one classic script, one style sheet), and the licences of what is in them.
// `node build.mjs` writes them into the Python package; `node build.mjs DIR` into another folder (the test compares).
import { build } from "esbuild";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { dirname, join, resolve } from "node:path";

const here = dirname(fileURLToPath(import.meta.url));
const target = process.argv[2] ? resolve(process.argv[2]) : join(here, "..", "src", "flow_xray", "_write", "page");

await build({
  absWorkingDir: here,
  entryPoints: { viewer: "src/main.tsx" },
  outdir: target,
  bundle: true,
  minify: true,
  format: "iife",
  target: ["es2022", "chrome110", "firefox115", "safari16.4"],
  charset: "ascii",
  legalComments: "none",
  jsx: "automatic",
  jsxImportSource: "preact",
  logLevel: "warning",
});

const parts = ["preact", "@dagrejs/dagre", "@dagrejs/graphlib"];
const texts = await Promise.all(parts.map(async (name) => `${name}\n\n${await readFile(join(here, "node_modules", name, "LICENSE"), "utf8")}`));
await mkdir(target, { recursive: true });
await writeFile(join(target, "viewer_licenses.txt"), "The trace page contains parts of these works.\n\n" + texts.map((text) => text.trim()).join("\n\n----\n\n") + "\n");
