// In the browser, on the page that starts the sign-in:
const base64url = (bytes) =>
  btoa(String.fromCharCode(...bytes)).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");

async function signIn() {
  const verifier = base64url(crypto.getRandomValues(new Uint8Array(32)));
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier));
  const state = base64url(crypto.getRandomValues(new Uint8Array(16)));
  sessionStorage.setItem("verifier", verifier);
  sessionStorage.setItem("state", state);
  location.assign({{js .Endpoints.Authorization}} + "?" + new URLSearchParams({
    response_type: "code",
    client_id: "YOUR_CLIENT_ID",
    redirect_uri: "https://app.example.com/callback",{{with .UserScope}}
    scope: {{js .}},{{end}}{{with .Resource}}
    resource: {{js .}},{{end}}
    state,
    code_challenge: base64url(new Uint8Array(digest)),
    code_challenge_method: "S256",
  }));
}

// On https://app.example.com/callback:
async function callback() {
  const answer = new URLSearchParams(location.search);
  const state = sessionStorage.getItem("state");
  if (!state || answer.get("state") !== state) throw new Error("not our request");
  if (answer.has("error")) throw new Error(answer.get("error_description") ?? answer.get("error"));
  const response = await fetch({{js .Endpoints.Token}}, {
    method: "POST",
    body: new URLSearchParams({
      grant_type: "authorization_code",
      client_id: "YOUR_CLIENT_ID",
      code: answer.get("code"),
      redirect_uri: "https://app.example.com/callback",
      code_verifier: sessionStorage.getItem("verifier"),
    }),
  });
  const token = await response.json();
  if (!response.ok) throw new Error(token.error_description ?? token.error);

  return fetch({{js .ExampleResource}}, {
    headers: { Authorization: `Bearer ${token.access_token}` },
  });
}
