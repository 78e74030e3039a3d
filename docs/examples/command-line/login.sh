#!/bin/sh
# Signs in with the device flow (RFC 8628), asks the API, and refreshes the token.
# It needs curl and jq.
set -eu

issuer=https://auth.example.com
api=https://api.example.com
client=orders-cli

# 1. Ask for a code, and show it.
device=$(curl -sf "$issuer/device-authorization" -d "client_id=$client" -d "scope=orders:read offline_access")
echo "Open $(echo "$device" | jq -r .verification_uri) and type the code $(echo "$device" | jq -r .user_code)"
echo "(or open $(echo "$device" | jq -r .verification_uri_complete))"
device_code=$(echo "$device" | jq -r .device_code)
interval=$(echo "$device" | jq -r .interval)

# 2. Poll until the person has decided, no faster than asked.
while :; do
	sleep "$interval"
	answer=$(curl -s "$issuer/token" -d "client_id=$client" -d "device_code=$device_code" \
		-d grant_type=urn:ietf:params:oauth:grant-type:device_code)
	case $(echo "$answer" | jq -r '.error // "none"') in
	none) break ;;
	authorization_pending) ;;
	slow_down) interval=$((interval + 5)) ;;
	*)
		echo "$answer" | jq -r '.error_description // .error' >&2
		exit 1
		;;
	esac
done

# 3. Use the token.
curl -sf -H "Authorization: Bearer $(echo "$answer" | jq -r .access_token)" "$api/orders"
echo

# 4. Later, when it has expired: the next one, without asking anybody. The refresh
# token that comes with it takes the place of the old one, which is used up.
answer=$(curl -sf "$issuer/token" -d "client_id=$client" -d grant_type=refresh_token \
	-d "refresh_token=$(echo "$answer" | jq -r .refresh_token)")
echo "The next token is good for $(echo "$answer" | jq -r .expires_in) seconds."

# 5. Signing out: what was granted ends, with all its tokens.
curl -sf -o /dev/null "$issuer/revoke" -d "client_id=$client" -d "token=$(echo "$answer" | jq -r .refresh_token)"
echo "Signed out."
