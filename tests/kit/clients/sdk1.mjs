// The npm package @modelcontextprotocol/sdk 1.x as a client: 2025-11-25 and before. See driver.mjs for the contract.
import { drive, load } from './driver.mjs';

const { Client } = load('@modelcontextprotocol/sdk/client/index.js');
const { StreamableHTTPClientTransport } = load('@modelcontextprotocol/sdk/client/streamableHttp.js');
const types = load('@modelcontextprotocol/sdk/types.js');

await drive('sdk1', async (job, headers, on) => {
  if (job.era === 'modern') throw new Error('this client speaks the legacy era only');
  const { elicitation, sampling, roots } = job.answers ?? {};
  const client = new Client({ name: 'toolgate-test-sdk1', version: '1' }, {
    capabilities: { ...(elicitation && { elicitation: { form: {}, url: {} } }), ...(sampling && { sampling: {} }), ...(roots && { roots: { listChanged: true } }) }
  });
  const answer = (schema, result) => client.setRequestHandler(schema, (r) => { on.question(r.method, r.params); return result; });
  if (elicitation) answer(types.ElicitRequestSchema, elicitation);
  if (sampling) answer(types.CreateMessageRequestSchema, { role: 'assistant', model: 'test', content: { type: 'text', text: sampling } });
  if (roots) answer(types.ListRootsRequestSchema, { roots });
  client.setNotificationHandler(types.LoggingMessageNotificationSchema, (n) => on.log(n.params));
  client.setNotificationHandler(types.ResourceUpdatedNotificationSchema, (n) => on.updated(n.params));
  client.setNotificationHandler(types.ToolListChangedNotificationSchema, () => on.changed('tools'));
  client.setNotificationHandler(types.PromptListChangedNotificationSchema, () => on.changed('prompts'));
  client.setNotificationHandler(types.ResourceListChangedNotificationSchema, () => on.changed('resources'));
  const transport = new StreamableHTTPClientTransport(new URL(job.url), { requestInit: { headers } });
  await client.connect(transport, { timeout: 30_000 });
  return {
    client,
    callTool: (params, options) => client.callTool(params, undefined, options),
    facts: () => ({
      version: transport.protocolVersion, server: client.getServerVersion(), session: transport.sessionId,
      capabilities: client.getServerCapabilities(), instructions: client.getInstructions()
    }),
    close: async () => { await transport.terminateSession(); await client.close(); }
  };
});
