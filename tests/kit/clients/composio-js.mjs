// Composio's own TypeScript SDK against the fake of tests/composio: it must accept every answer.
// argv[2]: {"url", "key", "webhook"?}. Prints one JSON object, what each step came to. Runs under the Node of ../suite.
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

process.env.COMPOSIO_DISABLE_TELEMETRY = 'true';
for (const name of ['http_proxy', 'https_proxy', 'all_proxy']) {
  delete process.env[name];
  delete process.env[name.toUpperCase()];
}

const top = join(dirname(fileURLToPath(import.meta.url)), '../../..');
const deps = process.env.TOOLGATE_DEPS ?? join(top, '.deps');
// The package is there for `import` alone, so it is found by its path.
const main = createRequire(join(deps, 'composio-js/package.json')).resolve.paths('@composio/core')[0];
const { Composio } = await import(pathToFileURL(join(main, '@composio/core/dist/index.mjs')));

const job = JSON.parse(process.argv[2]);
const done = {};
const user = 'js_user';

// What the SDK warns of: an answer that it reads only with good will says so there.
const warnings = [];
for (const level of ['warn', 'error']) console[level] = (...said) => warnings.push(said.map(String).join(' '));

const failure = async (call) => {
  try {
    await call();
    return null;
  } catch (error) {
    return { class: error.constructor.name, text: String(error.message), status: error.status ?? error.statusCode ?? error.cause?.status ?? null };
  }
};

// Opens a link and presses a button, as a person would; returns where the browser is sent.
const consent = async (url, decision = 'allow') => {
  const page = await (await fetch(url)).text();
  if (!page.includes('<form method="post">') || !page.includes(`name="decision" value="${decision}"`)) throw new Error(`no consent page: ${page}`);
  const answer = await fetch(url, { method: 'POST', body: new URLSearchParams({ decision }), redirect: 'manual' });
  return { status: answer.status, location: answer.headers.get('location') };
};

const composio = new Composio({ apiKey: job.key, baseURL: job.url, allowTracking: false, disableVersionCheck: true });

const session = await composio.create(user, { toolkits: ['github', 'gmail', 'hackernews'], mcp: true });
done.created = { id: session.sessionId, mcp: session.mcp, version: session.configVersion };
const again = await composio.use(session.sessionId, { mcp: true });
done.used = { id: again.sessionId, sameUrl: again.mcp.url === session.mcp.url };
done.before = (await session.toolkits()).items;

const request = await session.authorize('github', { callbackUrl: 'https://app.example/cb?state=abc' });
done.link = { id: request.id, status: request.status, url: request.redirectUrl };
done.redirect = await consent(request.redirectUrl);
const account = await request.waitForConnection(20_000);
done.account = { id: account.id, status: account.status, toolkit: account.toolkit.slug };
done.after = (await session.toolkits({ toolkits: ['github'] })).items;
done.connected = (await session.toolkits({ isConnected: true, limit: 5 })).items.map((item) => item.slug);

done.executed = await session.execute('GITHUB_GET_THE_AUTHENTICATED_USER', {});
done.failed = await session.execute('GITHUB_GET_REPO', {});
done.meta = await session.execute('COMPOSIO_MANAGE_CONNECTIONS', { toolkits: ['gmail', 'github'] });
done.searched = await session.search({ query: 'get the authenticated user on github' });
done.proxied = await session.proxyExecute({ toolkit: 'github', endpoint: '/user', method: 'GET' });
done.unconnected = await failure(() => session.execute('GMAIL_GET_PROFILE', {}));
done.tools = (await session.tools()).map((tool) => tool.function.name).sort();

await session.update({ toolkits: ['github', 'slack'] });
done.updated = { version: session.configVersion, toolkits: (await session.toolkits()).items.map((item) => item.slug).sort() };
const direct = await composio.create(user, { toolkits: ['hackernews'], sessionPreset: 'direct_tools' });
done.direct = (await direct.tools()).map((tool) => tool.function.name).sort();
done.toolExecute = await composio.tools.execute('GITHUB_GET_THE_AUTHENTICATED_USER', { userId: user, arguments: {}, version: '20260101_00' });
done.toolList = (await composio.tools.getRawComposioTools({ toolkits: ['github'], limit: 50 })).map((tool) => tool.slug).sort();
done.toolkits = (await composio.toolkits.get({})).map((toolkit) => toolkit.slug).sort();
done.toolkit = (await composio.toolkits.get('github')).slug;

const accounts = composio.connectedAccounts;
const listed = await accounts.list({ userIds: [user], statuses: ['ACTIVE'] });
done.listed = listed.items.map((item) => ({ id: item.id, status: item.status, toolkit: item.toolkit.slug }));
const config = listed.items[0].authConfig.id;
done.second = await failure(() => accounts.link(user, config));
done.retired = await failure(() => accounts.initiate(user, config, { allowMultiple: true }));
const link = await accounts.link(user, config, { callbackUrl: 'https://app.example/cb', allowMultiple: true });
done.denied = await consent(link.redirectUrl, 'deny');
done.deniedWait = await failure(() => link.waitForConnection(10_000));
await accounts.disable(account.id);
done.disabled = (await accounts.get(account.id)).status;
await accounts.enable(account.id);
done.enabled = (await accounts.get(account.id)).status;
done.deleted = await accounts.delete(account.id);
done.goneAccount = await failure(() => accounts.get(account.id));

const configs = composio.authConfigs;
const made = await configs.create('notion', { type: 'use_composio_managed_auth', name: 'N' });
const custom = await configs.create('serpapi', { type: 'use_custom_auth', authScheme: 'API_KEY', credentials: {}, name: 'S' });
done.config = (await configs.get(made.id)).toolkit.slug;
done.configs = [...new Set((await configs.list()).items.map((item) => item.toolkit.slug))].sort();
await configs.disable(made.id);
done.configDisabled = (await configs.get(made.id)).status;
await configs.delete(made.id);

const server = await composio.mcp.create('js-server', { toolkits: [{ toolkit: 'serpapi', authConfigId: custom.id }], allowedTools: ['SERPAPI_SEARCH'] });
done.server = { id: server.id, name: server.name, tools: server.allowedTools };
done.instance = await composio.mcp.generate(user, server.id);
done.servers = (await composio.mcp.list({ page: 1, limit: 3 })).items.map((item) => item.name);
done.serverTools = (await composio.mcp.update(server.id, { allowedTools: ['SERPAPI_SEARCH'] })).allowedTools;
done.serverDeleted = await composio.mcp.delete(server.id);
done.triggerTypes = (await composio.triggers.listTypes()).items.map((item) => item.slug).sort();

done.sessionDeleted = await session.delete();
done.gone = await failure(() => composio.use(session.sessionId));
const wrong = new Composio({ apiKey: 'ak_wrong', baseURL: job.url, allowTracking: false, disableVersionCheck: true });
done.refused = await failure(() => wrong.create(user));

if (job.webhook) {
  const verify = (changed) => composio.triggers.verifyWebhook({ ...job.webhook, ...changed });
  const good = await verify({});
  done.webhook = { version: good.version, raw: good.rawPayload };
  done.webhookTampered = await failure(() => verify({ payload: job.webhook.payload.replace('"type"', '"Type"') }));
  done.webhookOld = await failure(() => verify({ timestamp: String(Number(job.webhook.timestamp) - 600) }));
}

process.stdout.write(JSON.stringify({ done, warnings }));
