// Loaded before Brave's server (NODE_OPTIONS=--import): its API's address is fixed in its code, so requests
// to it are sent to the fake. Everything else of the server is as published.

const { fetch: realFetch } = globalThis;

globalThis.fetch = (input, init) => {
  const url = new URL(input instanceof Request ? input.url : input);
  if (url.hostname !== "api.search.brave.com") return realFetch(input, init);
  const fake = new URL(url.pathname + url.search, process.env.BRAVE_FAKE_URL);
  return realFetch(input instanceof Request ? new Request(fake, input) : fake, init);
};
