// Preloaded into Brave's server (NODE_OPTIONS=--import=<this file>): its API host is fixed in its code, so what it
// sends there goes to the test's own fake at BRAVE_API_FAKE instead, unchanged otherwise.
const real = globalThis.fetch;

globalThis.fetch = (input, init) => {
  const url = new URL(input instanceof Request ? input.url : input);
  if (url.host !== 'api.search.brave.com') return real(input, init);
  return real(new URL(url.pathname + url.search, process.env.BRAVE_API_FAKE), init);
};
