// The npm package @modelcontextprotocol/client 2.x, in either era. See driver.mjs for the contract.
import { drive, load } from './driver.mjs';

const { Client, StreamableHTTPClientTransport } = load('@modelcontextprotocol/client');
const negotiation = { legacy: 'legacy', auto: 'auto', modern: { pin: '2026-07-28' } };

await drive('client2', async (job, headers, on) => {
  const { elicitation, sampling, roots } = job.answers ?? {};
  const client = new Client({ name: 'toolgate-test-client2', version: '2' }, {
    versionNegotiation: { mode: negotiation[job.era] },
    capabilities: { ...(elicitation && { elicitation: { form: {}, url: {} } }), ...(sampling && { sampling: {} }), ...(roots && { roots: {} }) }
  });
  const answer = (method, result) => client.setRequestHandler(method, (r) => { on.question(r.method, r.params); return result; });
  if (elicitation) answer('elicitation/create', elicitation);
  if (sampling) answer('sampling/createMessage', { role: 'assistant', model: 'test', content: { type: 'text', text: sampling } });
  if (roots) answer('roots/list', { roots });
  client.setNotificationHandler('notifications/message', (n) => on.log(n.params));
  client.setNotificationHandler('notifications/resources/updated', (n) => on.updated(n.params));
  for (const what of ['tools', 'prompts', 'resources'])
    client.setNotificationHandler(`notifications/${what}/list_changed`, () => on.changed(what));
  const transport = new StreamableHTTPClientTransport(new URL(job.url), { requestInit: { headers } });
  await client.connect(transport, { timeout: 30_000 });
  return {
    client,
    callTool: (params, options) => client.callTool(params, options),
    facts: () => ({
      version: client.getNegotiatedProtocolVersion(), server: client.getServerVersion(), session: transport.sessionId,
      capabilities: client.getServerCapabilities(), instructions: client.getInstructions()
    }),
    close: () => client.close()
  };
});
