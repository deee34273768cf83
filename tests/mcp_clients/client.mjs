// Drive one MCP server with the official TypeScript client: node client.mjs SPEC.json
//
// SPEC: {"server": {"command", "args", "env", "cwd"} or {"url", "token"}, "calls": [{"tool", "arguments",
// "error": text that a refusal has, "progress": whether it is reported}], "cancel": {"tool", "arguments"}}
// Prints one JSON object: tools, and for each call its structured content, text, and number of reports.
import { readFileSync } from "node:fs";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const spec = JSON.parse(readFileSync(process.argv[2], "utf8"));
const client = new Client({ name: "typescript-client", version: "1" });
const transport = spec.server.url
  ? new StreamableHTTPClientTransport(new URL(spec.server.url), {
      requestInit: { headers: { Authorization: `Bearer ${spec.server.token}` } },
    })
  : new StdioClientTransport(spec.server);
await client.connect(transport);
const { tools } = await client.listTools(); // compiles every output schema: each result is validated against it
const results = [];
for (const { tool, arguments: given = {} } of spec.calls) {
  let reports = 0;
  const result = await client.callTool({ name: tool, arguments: given }, undefined, {
    onprogress: () => (reports += 1),
  });
  results.push({ tool, isError: result.isError === true, text: result.content[0].text, value: result.structuredContent, reports });
}
let cancelled = null;
if (spec.cancel) {
  const controller = new AbortController();
  const call = client.callTool({ name: spec.cancel.tool, arguments: spec.cancel.arguments ?? {} }, undefined, {
    signal: controller.signal,
    onprogress: () => controller.abort("enough"),
  });
  cancelled = await call.then(() => "ended", (error) => String(error.message ?? error));
  await client.ping();
}
console.log(JSON.stringify({ server: client.getServerVersion(), tools, results, cancelled }));
await client.close();
