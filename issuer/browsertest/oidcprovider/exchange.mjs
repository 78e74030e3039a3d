// An OpenID provider with node-oidc-provider, in which any name signs in, for clients that take its tokens elsewhere.
//
//   node exchange.mjs <client id> <client secret> <redirect URI> <audience>
//
// With resource=<audience>/jwt and <audience>/opaque its access tokens are JWTs and opaque, for that audience; without resource they
// are opaque and for its own userinfo endpoint. It writes its issuer URL to the standard output once it answers, and ends when the
// standard input does.
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const [clientId, clientSecret, redirectUri, audience] = process.argv.slice(2);

const server = createServer();
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: [{ client_id: clientId, client_secret: clientSecret, redirect_uris: [redirectUri] }],
    scopes: ['openid', 'read'],
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    features: {
      introspection: { enabled: true, allowedPolicy: () => true },
      resourceIndicators: {
        enabled: true,
        useGrantedResource: () => true,
        getResourceServerInfo: (_, resource) => ({
          scope: 'read', audience, accessTokenTTL: 300,
          accessTokenFormat: resource.endsWith('/jwt') ? 'jwt' : 'opaque',
        }),
      },
    },
  });
  server.on('request', provider.callback());
  console.log(issuer);
});
process.stdin.resume().on('end', () => process.exit(0));
