// Node.js 18 or later. clientToken: from the client credentials flow; userToken: from your identity provider.
async function exchange(clientToken, userToken) {
  const accessToken = "urn:ietf:params:oauth:token-type:access_token";
  const response = await fetch({{js .Endpoints.Token}}, {
    method: "POST",
    headers: { Authorization: `Bearer ${clientToken}` },
    body: new URLSearchParams({
      grant_type: "urn:ietf:params:oauth:grant-type:token-exchange",
      actor_token: clientToken,
      actor_token_type: accessToken,
      subject_token: userToken,
      subject_token_type: accessToken,{{with .ExampleScope}}
      scope: {{js .}},{{end}}{{with .Resource}}
      resource: {{js .}},{{end}}
    }),
  });
  const token = await response.json();
  if (!response.ok) throw new Error(token.error_description ?? token.error);
  return token.access_token;
}
