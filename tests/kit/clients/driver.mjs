// What the JavaScript drivers share. A driver reads one JSON job from stdin, plays its steps as a real client, and
// prints one JSON report on stdout; the Rust tests judge the report. Every driver of this folder keeps this contract:
//
//   job     { url, key?, headers?, era: "legacy" | "modern" | "auto", timeout_ms?,
//             answers?: { elicitation: <result>, sampling: <text>, roots: [<root>] },   declares the capability, too
//             steps: [ { op, … } ] }
//   steps   tools, resources, templates, prompts            value: the whole list, every page
//           call { name, arguments?, meta?, progress?, cancel_after_ms? }, read { uri }, prompt { name, arguments? },
//           complete { ref, argument }, log_level { level }, ping, subscribe { uri }, listen { filter },
//           wait { for: "logs" | "updates" | "changed" | "questions", count, ms }, sleep { ms }
//   report  { client, version, server, capabilities, instructions, session, connect_error?, questions, logs, updates,
//             changed, steps: [ { op, ok, value | error: { code, message, data }, progress?, cancelled?, ms } ] }
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const top = join(dirname(fileURLToPath(import.meta.url)), '../../..');
export const load = createRequire(join(process.env.TOOLGATE_DEPS ?? join(top, '.deps'), 'npm/package.json'));

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const plainError = (e) => ({ code: e?.code, message: String(e?.message ?? e), data: e?.data, kind: e?.constructor?.name });

async function readJob() {
  let text = '';
  for await (const chunk of process.stdin) text += chunk;
  return JSON.parse(text);
}

// The lists of the TypeScript clients come page by page when a cursor is given: walk them all.
async function pages(list, key) {
  const all = [];
  let cursor;
  do {
    const page = await list(cursor === undefined ? undefined : { cursor });
    all.push(...page[key]);
    cursor = page.nextCursor;
  } while (cursor !== undefined);
  return all;
}

async function play(step, at, report, job) {
  const { client } = at;
  const timeout = step.timeout_ms ?? 45_000;
  switch (step.op) {
    case 'tools': return pages((p) => client.listTools(p, { timeout }), 'tools');
    case 'resources': return pages((p) => client.listResources(p, { timeout }), 'resources');
    case 'templates': return pages((p) => client.listResourceTemplates(p, { timeout }), 'resourceTemplates');
    case 'prompts': return pages((p) => client.listPrompts(p, { timeout }), 'prompts');
    case 'call': {
      const options = { timeout };
      if (step.progress) options.onprogress = (p) => step.heard.push(p);
      if (step.cancel_after_ms !== undefined) {
        const abort = new AbortController();
        options.signal = abort.signal;
        setTimeout(() => { step.cancelled = true; abort.abort('the test cancels'); }, step.cancel_after_ms);
      }
      return at.callTool({ name: step.name, arguments: step.arguments, ...(step.meta ? { _meta: step.meta } : {}) }, options);
    }
    case 'read': return client.readResource({ uri: step.uri }, { timeout });
    case 'prompt': return client.getPrompt({ name: step.name, arguments: step.arguments }, { timeout });
    case 'complete': return client.complete({ ref: step.ref, argument: step.argument }, { timeout });
    case 'log_level': return client.setLoggingLevel(step.level, { timeout });
    case 'ping': return client.ping({ timeout });
    case 'subscribe': return client.subscribeResource({ uri: step.uri }, { timeout });
    case 'listen': return (await client.listen(step.filter, { timeout })).honoredFilter;
    case 'sleep': return sleep(step.ms);
    case 'wait': {
      for (const end = Date.now() + (step.ms ?? 10_000); report[step.for].length < step.count; await sleep(20))
        if (Date.now() > end) throw new Error(`only ${report[step.for].length} of ${step.count} ${step.for} came`);
      return report[step.for].length;
    }
    default: throw new Error(`no such step: ${step.op}`);
  }
}

export async function drive(name, open) {
  const job = await readJob();
  const report = { client: name, questions: [], logs: [], updates: [], changed: [], steps: [] };
  const finish = (code) => process.stdout.write(JSON.stringify(report) + '\n', () => process.exit(code));
  setTimeout(() => { report.hung = true; finish(3); }, job.timeout_ms ?? 90_000).unref();
  const on = {
    question: (method, params) => report.questions.push({ method, params }),
    log: (params) => report.logs.push(params),
    updated: (params) => report.updates.push(params),
    changed: (what) => report.changed.push(what)
  };
  let at;
  try {
    at = await open(job, headersOf(job), on);
  } catch (e) {
    report.connect_error = { ...plainError(e), cause: e?.cause === undefined ? undefined : String(e.cause) };
    return finish(0);
  }
  Object.assign(report, at.facts());
  for (const step of job.steps) {
    const began = Date.now();
    step.heard = [];
    const entry = { op: step.op, ok: true };
    try { entry.value = (await play(step, at, report, job)) ?? null; } catch (e) { entry.ok = false; entry.error = plainError(e); if (step.cancelled) entry.cancelled = true; }
    entry.ms = Date.now() - began;
    if (step.progress) entry.progress = step.heard;
    report.steps.push(entry);
  }
  await at.close().catch(() => {});
  finish(0);
}

const headersOf = (job) => ({ ...(job.key ? { Authorization: `Bearer ${job.key}` } : {}), ...(job.headers ?? {}) });
