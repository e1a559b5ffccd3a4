// One client scenario of the official suite, with Toolgate in the place of the client: the suite's mock server is its
// only gateway, and a plain MCP client on the other side lists everything and makes the calls of the scenario.
//   node client-driver.mjs URL      (run by the suite; MCP_CONFORMANCE_* and TOOLGATE_BIN in the environment)
// The client here speaks 2025-11-25, so that everything modern towards the mock is Toolgate's own doing.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const upstream = process.argv[2];
const scenario = process.env.MCP_CONFORMANCE_SCENARIO ?? '';
const era = process.env.MCP_CONFORMANCE_PROTOCOL_VERSION === '2026-07-28' ? 'modern' : 'legacy';
const context = JSON.parse(process.env.MCP_CONFORMANCE_CONTEXT ?? '{}');
const READY_MS = 15_000, CALL_MS = 20_000;

// Calls beyond `context.toolCalls`; any other scenario calls every tool that it is shown, without arguments.
const calls = {
  tools_call: [{ name: 'add_numbers', arguments: { a: 5, b: 3 } }],
  'http-invalid-tool-headers': [{ name: 'valid_tool', arguments: { region: 'us-west1', query: 'SELECT 1' } }],
};

const work = mkdtempSync(join(tmpdir(), 'toolgate-client-'));
const config = join(work, 'gateways.toml');
writeFileSync(config, `[tools]\nprefix = "never"\nnames = "as_is"\n\n[gateways.mock]\nurl = ${JSON.stringify(upstream)}\nera = "${era}"\n`);
const gateway = spawn(process.env.TOOLGATE_BIN, ['serve', '--config', config, '--listen', '127.0.0.1:0', '--log', 'warn'], {
  stdio: ['ignore', 'pipe', 'inherit'],
});

function listening() {
  return new Promise((resolve, reject) => {
    let said = '';
    const late = setTimeout(() => reject(new Error(`no listening line: ${said}`)), READY_MS);
    gateway.on('exit', (code) => reject(new Error(`toolgate ended with ${code}`)));
    gateway.stdout.on('data', (chunk) => {
      said += chunk;
      const found = /^listening on (\S+)/m.exec(said);
      if (found) { clearTimeout(late); resolve(found[1]); }
    });
  });
}

class Client {
  constructor(url) { this.url = url; this.last = 0; }

  async post(message) {
    const headers = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };
    if (this.session) headers['mcp-session-id'] = this.session;
    const signal = AbortSignal.timeout(CALL_MS);
    const response = await fetch(this.url, { method: 'POST', headers, body: JSON.stringify(message), signal });
    this.session = response.headers.get('mcp-session-id') ?? this.session;
    return response;
  }

  async request(method, params = {}) {
    const id = ++this.last;
    const response = await this.post({ jsonrpc: '2.0', id, method, params });
    const text = (response.headers.get('content-type') ?? '').startsWith('text/event-stream')
      ? await this.stream(response, id)
      : await response.json();
    if (text.error) throw new Error(`${method}: ${text.error.code} ${text.error.message}`);
    return text.result;
  }

  // Reads events until the answer; answers what is asked on the way.
  async stream(response, id) {
    let rest = '';
    for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
      rest += chunk;
      for (let end; (end = rest.indexOf('\n\n')) >= 0; rest = rest.slice(end + 2)) {
        const data = rest.slice(0, end).split('\n').filter((line) => line.startsWith('data:')).map((line) => line.slice(5).trimStart()).join('\n');
        if (!data) continue;
        const message = JSON.parse(data);
        if (message.method && message.id !== undefined) await this.post({ jsonrpc: '2.0', id: message.id, result: answer(message) });
        else if (message.id === id) return message;
      }
    }
    throw new Error('the stream ended without an answer');
  }

  async all(method, key) {
    const items = [];
    for (let cursor; ;) {
      const page = await this.request(method, cursor === undefined ? {} : { cursor });
      items.push(...page[key]);
      if ((cursor = page.nextCursor) === undefined) return items;
    }
  }
}

// A person who accepts every form with its defaults.
function answer({ method, params }) {
  if (method === 'roots/list') return { roots: [] };
  if (method === 'sampling/createMessage') return { role: 'assistant', model: 'none', content: { type: 'text', text: 'ok' } };
  if (method !== 'elicitation/create') return {};
  const blank = { string: '', boolean: true, integer: 0, number: 0, array: [] };
  const fields = Object.entries(params.requestedSchema?.properties ?? {});
  return { action: 'accept', content: Object.fromEntries(fields.map(([key, field]) => [key, field.default ?? field.enum?.[0] ?? blank[field.type] ?? null])) };
}

// The gateway looks at its upstream in its own time: its lists are asked for once it has.
async function listed(client) {
  for (const end = Date.now() + READY_MS; ;) {
    const ready = await fetch(client.url.replace(/\/mcp$/, '/readyz?verbose')).then((response) => response.json());
    if (ready.gateways.every((one) => one.looked)) break;
    if (Date.now() > end) throw new Error(`nothing was listed: ${JSON.stringify(ready)}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return {
    tools: await client.all('tools/list', 'tools'),
    prompts: await client.all('prompts/list', 'prompts'),
    resources: await client.all('resources/list', 'resources'),
  };
}

let code = 0;
try {
  const client = new Client(await listening());
  await client.request('initialize', {
    protocolVersion: '2025-11-25',
    capabilities: { elicitation: { form: {}, url: {} }, sampling: {}, roots: {} },
    clientInfo: { name: 'conformance-driver', version: '1' },
  });
  await client.post({ jsonrpc: '2.0', method: 'notifications/initialized' });
  const { tools, prompts, resources } = await listed(client);
  const attempt = async (what, work) => { try { await work(); } catch (error) { console.error(`${scenario}: ${what}: ${error.message}`); } };
  // `json_schema_echo` wants back the schema of the other tool, keyword by keyword.
  const schema = tools.find(({ name }) => name !== 'json_schema_echo')?.inputSchema;
  const each = tools.map(({ name }) => ({ name, arguments: name === 'json_schema_echo' ? { schema } : {} }));
  for (const { name, arguments: given } of context.toolCalls ?? calls[scenario] ?? each) {
    await attempt(name, () => client.request('tools/call', { name, arguments: given }));
  }
  for (const { name } of prompts) await attempt(name, () => client.request('prompts/get', { name }));
  for (const { uri } of resources) await attempt(uri, () => client.request('resources/read', { uri }));
} catch (error) {
  console.error(`${scenario}: ${error.stack}`);
  code = 1;
} finally {
  gateway.removeAllListeners('exit');
  const gone = new Promise((resolve) => gateway.on('exit', resolve));
  gateway.kill('SIGTERM');
  await gone;
  rmSync(work, { recursive: true, force: true });
}
process.exit(code);
