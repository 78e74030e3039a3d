#!/bin/sh
# What the orders service does with a token that it was called with: it exchanges
# it, and asks the billing API. ORDERS_SECRET is its secret, the first argument the
# token. It needs curl and jq.
set -eu

issuer=https://auth.example.com

# Its own token, which it can keep for as long as it is good.
own=$(curl -sf "$issuer/token" -u "orders:$ORDERS_SECRET" -d grant_type=client_credentials -d resource=https://billing.example.com | jq -r .access_token)

# The person's token and its own for one that says both.
exchanged=$(curl -s "$issuer/token" -u "orders:$ORDERS_SECRET" \
	-d grant_type=urn:ietf:params:oauth:grant-type:token-exchange \
	-d "subject_token=$1" -d subject_token_type=urn:ietf:params:oauth:token-type:access_token \
	-d "actor_token=$own" -d actor_token_type=urn:ietf:params:oauth:token-type:access_token \
	-d audience=https://billing.example.com -d scope=invoices:read)
token=$(echo "$exchanged" | jq -r '.access_token // empty')
if [ -z "$token" ]; then
	echo "$exchanged" | jq -r .error_description >&2
	exit 1
fi

curl -i -H "Authorization: Bearer $1" https://billing.example.com/invoices     # 401: alice's token is not for this API
curl -i -H "Authorization: Bearer $own" https://billing.example.com/invoices   # 403: the service alone
curl -i -H "Authorization: Bearer $token" https://billing.example.com/invoices # 200: the service, for alice
