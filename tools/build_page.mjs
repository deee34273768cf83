// Build a page's script and style: one classic script, one style sheet, and the licences of what is in them.
// `node tools/build_page.mjs FOLDER` writes them into the Python package; with a second folder, there (the tests
// compare). FOLDER/package.json says what: {"page": {"name", "target", "licenses": ["a dependency", ...]}}.
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";

const folder = resolve(process.argv[2]);
const { page } = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
const target = resolve(process.argv[3] ?? join(folder, page.target));
const { build } = createRequire(join(folder, "package.json"))("esbuild");

await build({
  absWorkingDir: folder,
  entryPoints: { [page.name]: "src/main.tsx" },
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

if (page.licenses) {
  const read = async (name) => `${name}\n\n${await readFile(join(folder, "node_modules", name, "LICENSE"), "utf8")}`.trim();
  const texts = await Promise.all(page.licenses.map(read));
  const text = ["The trace page contains parts of these works.", texts.join("\n\n----\n\n")].join("\n\n");
  await mkdir(target, { recursive: true });
  await writeFile(join(target, `${page.name}_licenses.txt`), text + "\n");
}
