// What the composed services reach instead of the internet: a page for mcp-server-fetch and Brave's API.
// Listens on 8080 of the private networks; says on stdout what it was asked, so that run.sh can wait for it.

import { createServer } from "node:http";

// Answers that wait until somebody asks for /release.
const held = [];
const hold = (answerNow) => console.log(`held: ${held.push(answerNow)}`);

const page = (title, canary) =>
  `<!doctype html><html><head><title>${title}</title></head><body><article><h1>${title}</h1>` +
  `<p>${canary} ${"The page stands inside the private network. ".repeat(20)}</p></article></body></html>`;

const braveAnswer = (query) => ({
  type: "search",
  query: { original: query },
  web: {
    type: "search",
    results: [{ title: `About ${query}`, url: "https://example.com/canary", description: "brave-canary" }],
  },
});

function answer(request, response) {
  const url = new URL(request.url, "http://fake");
  console.log(`${request.method} ${url.pathname}`);
  const send = (status, type, body) => response.writeHead(status, { "content-type": type }).end(body);
  switch (url.pathname) {
    case "/page.html":
      return send(200, "text/html", page("A page", "fetch-canary"));
    case "/slow.html":
      return hold(() => send(200, "text/html", page("A slow page", "slow-canary")));
    case "/release":
      for (const answerNow of held.splice(0)) answerNow();
      return send(200, "text/plain", "released");
    case "/res/v1/web/search": {
      if (request.headers["x-subscription-token"] !== process.env.BRAVE_API_KEY) {
        return send(401, "application/json", JSON.stringify({ error: "wrong token" }));
      }
      const query = url.searchParams.get("q");
      const found = () => send(200, "application/json", JSON.stringify(braveAnswer(query)));
      return query === "slow" ? hold(found) : found();
    }
    default:
      return send(404, "text/plain", "not found");
  }
}

createServer(answer).listen(8080, "0.0.0.0", () => console.log("fake: listening"));
process.on("SIGTERM", () => process.exit(0));
