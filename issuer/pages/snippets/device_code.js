// Node.js 18 or later
const post = (url, form) => fetch(url, { method: "POST", body: new URLSearchParams(form) });
const sleep = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));

async function main() {
  const device = await (await post({{js .Endpoints.DeviceAuthorization}}, {
    client_id: "YOUR_CLIENT_ID",{{with .UserScope}}
    scope: {{js .}},{{end}}
  })).json();
  console.log(`Open ${device.verification_uri} and enter ${device.user_code}`);

  let interval = device.interval;
  for (;;) {
    await sleep(interval);
    const response = await post({{js .Endpoints.Token}}, {
      grant_type: "urn:ietf:params:oauth:grant-type:device_code",
      client_id: "YOUR_CLIENT_ID",
      device_code: device.device_code,
    });
    const token = await response.json();
    if (response.ok) {
      console.log("Connected; the token lasts", token.expires_in, "seconds");
      return token;
    }
    if (token.error === "slow_down") interval += 5;
    else if (token.error !== "authorization_pending") throw new Error(token.error_description ?? token.error);
  }
}

main();
