// A server that asks its client what the arguments of a call say, and reports what it was told. No dependencies.
//
//   ERA=legacy|modern node asks.mjs http     prints "listening on URL"
//   ERA=legacy|modern node asks.mjs stdio
//
//   ask { label, kind, count?, rounds?, wait_ms?, complete?, on_get?, stateless?, empty_first? }
//       asks `count` questions at once, `rounds` times, waits, and returns { heard: [[answer, …], …] }; an answer is
//       { result } or { error }. complete: tells of the end of each url elicitation (legacy). on_get: asks on the
//       session's GET stream, as servers do that do not relate a question to its call (legacy HTTP). stateless: gives no
//       requestState; empty_first: the first round is a requestState alone (modern).
//   need_url { label, times? }   refuses with -32042 that many times, then returns how often it was called (legacy)
//   seen { label }               what became of the calls with that label: { state, asked, heard, calls }
//       state: asking | waiting | done | cancelled (told by a notification) | closed (its stream was closed; modern)
//       | ended (with its session; legacy)
import { createServer } from 'node:http';
import { randomUUID } from 'node:crypto';
import { createInterface } from 'node:readline';

const era = process.env.ERA ?? 'legacy';
const fates = new Map();
const fate = (label) => {
  if (!fates.has(label)) fates.set(label, { state: 'unknown', asked: 0, heard: 0, calls: 0 });
  return fates.get(label);
};

const open = { type: 'object', properties: { label: { type: 'string' } } };
const tools = ['ask', 'need_url', 'seen'].map((name) => ({ name, description: `${name} of the test server`, inputSchema: open }));
const info = { name: 'asks', version: '1' };

const text = (value) => ({ content: [{ type: 'text', text: JSON.stringify(value) }], structuredContent: value });
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

function question(kind, label, round, n) {
  const name = `${label} ${round}.${n}`;
  switch (kind) {
    case 'form': return { method: 'elicitation/create', params: { mode: 'form', message: name, requestedSchema: { type: 'object', properties: { name: { type: 'string' } }, required: ['name'] } } };
    case 'url': return { method: 'elicitation/create', params: { mode: 'url', message: name, url: `https://example.com/${encodeURIComponent(name)}`, ...(era === 'legacy' && { elicitationId: name }) } };
    case 'sampling': return { method: 'sampling/createMessage', params: { messages: [{ role: 'user', content: { type: 'text', text: name } }], maxTokens: 10 } };
    case 'roots': return { method: 'roots/list', ...(era === 'modern' && { params: {} }) };
    default: throw new Error(`no such kind: ${kind}`);
  }
}

// ---- legacy: questions are requests on the call's own stream -------------------------------------------------------

// A call: { send(message), gone: Promise<'cancelled' | 'closed'> }. A link: { asked: Map(id -> resolve) }.
async function askLegacy(args, call, link) {
  const { label, kind, count = 1, rounds = 1, wait_ms = 0 } = args;
  const it = fate(label);
  Object.assign(it, { state: 'asking', calls: it.calls + 1 });
  const heard = [];
  let over = false;
  const work = (async () => {
    for (let round = 1; round <= rounds && !over; round++) {
      const waiting = [];
      for (let n = 1; n <= count; n++) {
        const id = randomUUID();
        const asked = question(kind, label, round, n);
        waiting.push(new Promise((resolve) => link.asked.set(id, resolve)).then((answer) => (it.heard++, answer)));
        it.asked++;
        (args.on_get ? link.tell : call.send)({ jsonrpc: '2.0', id, ...asked });
        if (args.complete) call.completes.push(asked.params.elicitationId);
      }
      heard.push(await Promise.all(waiting));
      for (const elicitationId of call.completes.splice(0)) call.send({ jsonrpc: '2.0', method: 'notifications/elicitation/complete', params: { elicitationId } });
    }
    if (wait_ms && !over) { it.state = 'waiting'; await sleep(wait_ms); }
    return 'done';
  })();
  it.state = await Promise.race([work, call.gone]);
  over = true;
  return it.state === 'done' ? { result: text({ heard }) } : null;
}

function needUrl(args) {
  const it = fate(args.label);
  it.calls++;
  if (it.calls > (args.times ?? 1)) return { result: text({ calls: it.calls }) };
  const elicitations = [{ mode: 'url', elicitationId: `need ${args.label}`, url: 'https://example.com/connect', message: 'Connect first' }];
  return { error: { code: -32042, message: 'This request needs a URL to be visited', data: { elicitations } } };
}

async function callLegacy(params, call, link) {
  const args = params.arguments ?? {};
  switch (params.name) {
    case 'ask': return askLegacy(args, call, link);
    case 'need_url': return needUrl(args);
    case 'seen': return { result: text(fate(args.label)) };
    default: return { error: { code: -32602, message: `no such tool: ${params.name}` } };
  }
}

async function answerLegacy(message, call, link) {
  switch (message.method) {
    case 'initialize': {
      const version = ['2025-11-25', '2025-06-18', '2025-03-26'].find((one) => one === message.params.protocolVersion) ?? '2025-11-25';
      return { result: { protocolVersion: version, capabilities: { tools: {} }, serverInfo: info } };
    }
    case 'ping': return { result: {} };
    case 'tools/list': return { result: { tools } };
    case 'tools/call': return callLegacy(message.params, call, link);
    default: return { error: { code: -32601, message: 'Method not found' } };
  }
}

// ---- modern: questions are results, their answers come with the request again --------------------------------------

async function askModern(params, call) {
  const args = params.arguments ?? {};
  const { label, kind, count = 1, rounds = 1, wait_ms = 0 } = args;
  const it = fate(label);
  it.calls++;
  const responses = params.inputResponses;
  const state = params.requestState ? JSON.parse(Buffer.from(params.requestState, 'base64')) : { round: responses ? 1 : 0, heard: [] };
  const write = (state) => args.stateless ? {} : { requestState: Buffer.from(JSON.stringify(state)).toString('base64') };
  if (args.empty_first && state.round === 0 && !state.begun) return { result: { resultType: 'input_required', ...write({ ...state, begun: true }) } };
  if (state.round > 0) {
    const keys = Array.from({ length: count }, (_, n) => `${kind}-${state.round}-${n + 1}`);
    const missing = keys.filter((key) => responses?.[key] === undefined);
    if (missing.length === 0) {
      it.heard += count;
      state.heard.push(keys.map((key) => ({ result: responses[key] })));
    } else state.round--;
  }
  if (state.round === rounds) {
    if (wait_ms) {
      it.state = 'waiting';
      it.state = await Promise.race([sleep(wait_ms).then(() => 'done'), call.gone]);
      if (it.state !== 'done') return null;
    }
    it.state = 'done';
    return { result: { resultType: 'complete', ...text({ heard: state.heard }) } };
  }
  state.round++;
  const inputRequests = {};
  for (let n = 1; n <= count; n++) inputRequests[`${kind}-${state.round}-${n}`] = question(kind, label, state.round, n);
  Object.assign(it, { state: 'asking', asked: it.asked + count });
  return { result: { resultType: 'input_required', inputRequests, ...write(state) } };
}

async function answerModern(message, call) {
  const complete = (result) => ({ result: { resultType: 'complete', ...result } });
  switch (message.method) {
    case 'server/discover': return complete({ supportedVersions: ['2026-07-28'], capabilities: { tools: {} }, ttlMs: 0, cacheScope: 'public', _meta: { 'io.modelcontextprotocol/serverInfo': info } });
    case 'tools/list': return complete({ tools, ttlMs: 0, cacheScope: 'public' });
    case 'tools/call':
      if (message.params.name === 'ask') return askModern(message.params, call);
      if (message.params.name === 'seen') return complete(text(fate(message.params.arguments?.label)));
      return { error: { code: -32602, message: `no such tool: ${message.params.name}` } };
    case 'initialize': return { error: { code: -32022, message: 'Unsupported protocol version', data: { supported: ['2026-07-28'], requested: message.params?.protocolVersion } } };
    default: return { error: { code: -32601, message: 'Method not found' } };
  }
}

// ---- transports -----------------------------------------------------------------------------------------------------

const links = new Map(); // session id -> { asked, calls: Map(request id -> cancel) }
// A link's GET stream, and what waits for it to be opened.
function newLink() {
  const link = { asked: new Map(), calls: new Map(), waiting: [] };
  link.tell = (message) => { link.waiting.push(message); link.flush(); };
  link.flush = () => { while (link.stream && link.waiting.length) link.stream.write(`data: ${JSON.stringify(link.waiting.shift())}\n\n`); };
  return link;
}

function hear(message, link) {
  if (message.method === undefined) {
    const resolve = link.asked.get(message.id);
    link.asked.delete(message.id);
    resolve?.(message.error === undefined ? { result: message.result } : { error: message.error });
  } else if (message.method === 'notifications/cancelled') link.calls.get(message.params.requestId)?.('cancelled');
}

async function run(message, call, link) {
  const answer = await (era === 'modern' ? answerModern : answerLegacy)(message, call, link).catch((e) => ({ error: { code: -32603, message: String(e) } }));
  return answer && { jsonrpc: '2.0', id: message.id, ...answer };
}

async function post(request, response) {
  let body = '';
  for await (const chunk of request) body += chunk;
  const message = JSON.parse(body);
  const json = (status, value, headers = {}) => response.writeHead(status, { 'Content-Type': 'application/json', ...headers }).end(JSON.stringify(value));
  let link = newLink();
  const headers = {};
  if (era === 'legacy') {
    const id = request.headers['mcp-session-id'];
    if (message.method === 'initialize') {
      headers['Mcp-Session-Id'] = randomUUID();
      links.set(headers['Mcp-Session-Id'], link);
    } else if (id === undefined) return json(400, { jsonrpc: '2.0', id: null, error: { code: -32000, message: 'Bad Request: no session' } });
    else if (!links.has(id)) return json(404, { jsonrpc: '2.0', id: null, error: { code: -32001, message: 'Session not found' } });
    else link = links.get(id);
  }
  if (message.id === undefined || message.method === undefined) {
    hear(message, link);
    return response.writeHead(202).end();
  }
  let began = false;
  const stream = () => { if (!began) response.writeHead(200, { 'Content-Type': 'text/event-stream' }); began = true; };
  const call = { completes: [], send: (one) => { stream(); response.write(`data: ${JSON.stringify(one)}\n\n`); } };
  call.gone = new Promise((gone) => {
    link.calls.set(message.id, gone);
    // A legacy client that is gone has not cancelled.
    if (era === 'modern') response.on('close', () => { if (!response.writableFinished) gone('closed'); });
  });
  // A call that waits shows its stream at once, so that its client can close it.
  if (message.params?.arguments?.wait_ms) { stream(); response.write(': here\n\n'); }
  const answer = await run(message, call, link);
  link.calls.delete(message.id);
  if (began) {
    if (answer) response.write(`data: ${JSON.stringify(answer)}\n\n`);
    return response.end();
  }
  return answer ? json(200, answer, headers) : response.end();
}

function http() {
  const server = createServer((request, response) => {
    if (request.method === 'POST') return void post(request, response).catch((e) => response.destroy(e));
    const link = era === 'legacy' && links.get(request.headers['mcp-session-id']);
    if (request.method === 'GET' && link) {
      link.stream = response.writeHead(200, { 'Content-Type': 'text/event-stream' });
      response.write(': here\n\n');
      response.on('close', () => { if (link.stream === response) link.stream = undefined; });
      return link.flush();
    }
    if (request.method === 'DELETE') {
      const id = request.headers['mcp-session-id'];
      for (const gone of links.get(id)?.calls.values() ?? []) gone('ended');
      links.delete(id);
    }
    response.writeHead(request.method === 'DELETE' && era === 'legacy' ? 200 : 405).end();
  });
  server.listen({ port: 0, host: '127.0.0.1', backlog: 2048 }, () => console.log(`listening on http://127.0.0.1:${server.address().port}/mcp`));
}

function stdio() {
  const link = newLink();
  const send = (message) => process.stdout.write(JSON.stringify(message) + '\n');
  createInterface({ input: process.stdin }).on('line', async (line) => {
    const message = JSON.parse(line);
    if (message.id === undefined || message.method === undefined) return hear(message, link);
    const call = { completes: [], send, gone: new Promise((gone) => link.calls.set(message.id, gone)) };
    const answer = await run(message, call, link);
    link.calls.delete(message.id);
    if (answer) send(answer);
  }).on('close', () => process.exit(0));
}

process.argv[2] === 'stdio' ? stdio() : http();
