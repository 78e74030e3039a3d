// Client libraries by other people, each through what it does with an authorization server.
//
//   node clients.mjs <library> <issuer> <API> <MCP server> <client id> <client secret>
//
// Where a person is needed it writes "visit <URL>", and reads where their browser was sent to. It writes "done" when all was as it
// should be, and ends with an error otherwise. The client may have orders:read for the API, not orders:write.
import assert from 'node:assert/strict';
import { createInterface } from 'node:readline';

const [library, issuer, api, mcp, id, secret] = process.argv.slice(2);
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const redirectUri = 'http://127.0.0.1:9/callback'; // nobody listens there
const metadata = {
  client_name: library,
  redirect_uris: [redirectUri],
  grant_types: ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'],
  response_types: ['code'],
};
const scope = 'openid profile offline_access orders:read';

async function visit(url) {
  console.log(`visit ${url}`);
  const { value } = await lines.next();
  return new URL(value);
}

const libraries = {
  async 'openid-client'() {
    const oidc = await import('openid-client');
    const options = { execute: [oidc.allowInsecureRequests] };
    const config = await oidc.dynamicClientRegistration(new URL(issuer), { ...metadata, post_logout_redirect_uris: [redirectUri] }, undefined, options);

    const pkceCodeVerifier = oidc.randomPKCECodeVerifier();
    const expectedState = oidc.randomState();
    const expectedNonce = oidc.randomNonce();
    const back = await visit(oidc.buildAuthorizationUrl(config, {
      redirect_uri: redirectUri, scope, resource: api, state: expectedState, nonce: expectedNonce,
      code_challenge: await oidc.calculatePKCECodeChallenge(pkceCodeVerifier), code_challenge_method: 'S256',
    }));
    const tokens = await oidc.authorizationCodeGrant(config, back, { pkceCodeVerifier, expectedState, expectedNonce, idTokenExpected: true });
    const userinfo = await oidc.fetchUserInfo(config, tokens.access_token, tokens.claims().sub);
    assert.equal(userinfo.sub, tokens.claims().sub);
    assert.equal((await oidc.fetchProtectedResource(config, tokens.access_token, new URL(api), 'GET')).status, 200);

    const fresh = await oidc.refreshTokenGrant(config, tokens.refresh_token);
    assert.equal((await oidc.tokenIntrospection(config, fresh.access_token)).active, true);
    await oidc.tokenRevocation(config, fresh.refresh_token);
    assert.equal((await oidc.tokenIntrospection(config, fresh.access_token)).active, false);
    await assert.rejects(oidc.refreshTokenGrant(config, fresh.refresh_token), { error: 'invalid_grant' });

    const device = await oidc.initiateDeviceAuthorization(config, { scope });
    await visit(device.verification_uri_complete);
    assert.equal((await oidc.pollDeviceAuthorizationGrant(config, device)).scope, scope);

    const bye = await visit(oidc.buildEndSessionUrl(config, { id_token_hint: tokens.id_token, post_logout_redirect_uri: redirectUri, state: 'bye' }));
    assert.equal(bye.href, `${redirectUri}?state=bye`);
  },

  async oauth4webapi() {
    const oauth = await import('oauth4webapi');
    const insecure = { [oauth.allowInsecureRequests]: true };
    const resource = await oauth.processResourceDiscoveryResponse(new URL(api), await oauth.resourceDiscoveryRequest(new URL(api), insecure));
    const url = new URL(resource.authorization_servers[0]);
    const as = await oauth.processDiscoveryResponse(url, await oauth.discoveryRequest(url, { algorithm: 'oauth2', ...insecure }));

    for (const method of ['none', 'client_secret_post', 'client_secret_basic']) {
      const client = await oauth.processDynamicClientRegistrationResponse(
        await oauth.dynamicClientRegistrationRequest(as, { ...metadata, token_endpoint_auth_method: method }, insecure));
      const auth = { none: oauth.None, client_secret_post: oauth.ClientSecretPost, client_secret_basic: oauth.ClientSecretBasic }[method](client.client_secret);
      const verifier = oauth.generateRandomCodeVerifier();
      const request = new URL(as.authorization_endpoint);
      request.search = new URLSearchParams({
        client_id: client.client_id, response_type: 'code', redirect_uri: redirectUri, scope, resource: api,
        code_challenge: await oauth.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256',
      });
      const answer = oauth.validateAuthResponse(as, client, await visit(request));
      const tokens = await oauth.processAuthorizationCodeResponse(as, client,
        await oauth.authorizationCodeGrantRequest(as, client, auth, answer, redirectUri, verifier, insecure), { requireIdToken: true });
      const fresh = await oauth.processRefreshTokenResponse(as, client,
        await oauth.refreshTokenGrantRequest(as, client, auth, tokens.refresh_token, insecure));

      const asked = new Request(api, { headers: { authorization: `Bearer ${fresh.access_token}` } });
      const claims = await oauth.validateJwtAccessToken(as, asked, api, insecure);
      assert.equal(claims.client_id, client.client_id);
      await assert.rejects(oauth.protectedResourceRequest(fresh.access_token, 'POST', new URL(api), undefined, undefined, insecure),
        ({ cause: [challenge] }) => challenge.parameters.error === 'insufficient_scope' && challenge.parameters.scope === 'orders:write');
      await oauth.processRevocationResponse(await oauth.revocationRequest(as, client, auth, fresh.refresh_token, insecure));
    }
  },

  async 'oidc-client-ts'() {
    const { InMemoryWebStorage, OidcClient, WebStorageStateStore } = await import('oidc-client-ts');
    globalThis.window = globalThis; // it asks for little more of a browser
    const client = new OidcClient({
      authority: issuer, client_id: id, client_secret: secret, redirect_uri: redirectUri, post_logout_redirect_uri: redirectUri,
      scope, resource: api, loadUserInfo: true, stateStore: new WebStorageStateStore({ store: new InMemoryWebStorage() }),
    });
    const signedIn = await client.processSigninResponse((await visit((await client.createSigninRequest({})).url)).href);
    assert.equal(signedIn.profile.preferred_username, 'alice');
    const fresh = await client.useRefreshToken({ state: signedIn });
    await client.revokeToken(fresh.access_token, 'access_token');
    await client.revokeToken(fresh.refresh_token, 'refresh_token');
    const signedOut = await visit((await client.createSignoutRequest({ id_token_hint: signedIn.id_token, state: 'bye' })).url);
    await client.processSignoutResponse(signedOut.href);
  },

  async '@modelcontextprotocol/sdk'() {
    const { UnauthorizedError } = await import('@modelcontextprotocol/sdk/client/auth.js');
    const { Client } = await import('@modelcontextprotocol/sdk/client/index.js');
    const { StreamableHTTPClientTransport } = await import('@modelcontextprotocol/sdk/client/streamableHttp.js');
    const kept = {};
    const authProvider = {
      redirectUrl: redirectUri,
      clientMetadata: { ...metadata, grant_types: ['authorization_code', 'refresh_token'], token_endpoint_auth_method: 'none' },
      clientInformation: () => kept.client,
      saveClientInformation: client => { kept.client = client; },
      tokens: () => kept.tokens,
      saveTokens: tokens => { kept.tokens = tokens; },
      codeVerifier: () => kept.verifier,
      saveCodeVerifier: verifier => { kept.verifier = verifier; },
      redirectToAuthorization: async url => { kept.back = await visit(url); },
    };
    const transport = () => new StreamableHTTPClientTransport(new URL(mcp), { authProvider });
    const connect = async over => { const client = new Client({ name: 'test', version: '1' }); await client.connect(over); return client; };

    const first = transport();
    await assert.rejects(connect(first), UnauthorizedError);
    await first.finishAuth(kept.back.searchParams.get('code'));
    const client = await connect(transport());
    await client.ping();

    // The token is taken back: the client gets another one and goes on.
    const before = kept.tokens.access_token;
    const revoked = await fetch(`${issuer}/revoke`, { method: 'POST', body: new URLSearchParams({ token: before, client_id: kept.client.client_id }) });
    assert.equal(revoked.status, 200);
    await client.ping();
    assert.notEqual(kept.tokens.access_token, before);
  },

  async jose() {
    const { createRemoteJWKSet, jwtVerify } = await import('jose');
    const response = await fetch(`${issuer}/token`, {
      method: 'POST', body: new URLSearchParams({ grant_type: 'client_credentials', client_id: id, client_secret: secret, scope: 'orders:read', resource: api }),
    });
    const { access_token: token } = await response.json();
    const { jwks_uri: keys } = await (await fetch(`${issuer}/.well-known/openid-configuration`)).json();
    const { payload } = await jwtVerify(token, createRemoteJWKSet(new URL(keys)), {
      issuer, audience: api, typ: 'at+jwt', requiredClaims: ['sub', 'client_id', 'iat', 'exp', 'jti'],
    });
    assert.equal(payload.scope, 'orders:read');
  },
};

await libraries[library]();
console.log('done');
process.exit(0);
