// Node.js 18 or later
const id = "YOUR_CLIENT_ID";
const secret = process.env.CLIENT_SECRET;

async function getToken() {
  const response = await fetch({{js .Endpoints.Token}}, {
    method: "POST",
    headers: { Authorization: "Basic " + Buffer.from(`${id}:${secret}`).toString("base64") },
    body: new URLSearchParams({
      grant_type: "client_credentials",{{with .ExampleScope}}
      scope: {{js .}},{{end}}{{with .Resource}}
      resource: {{js .}},{{end}}
    }),
  });
  const token = await response.json();
  if (!response.ok) throw new Error(token.error_description ?? token.error);
  return token; // access_token, expires_in (seconds), token_type, scope
}

async function main() {
  const token = await getToken();
  const answer = await fetch({{js .ExampleResource}}, {
    headers: { Authorization: `Bearer ${token.access_token}` },
  });
  console.log(answer.status, await answer.text());
}

main();
