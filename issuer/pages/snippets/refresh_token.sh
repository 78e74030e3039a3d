REFRESH_TOKEN='YOUR_REFRESH_TOKEN'
curl -sS {{sh .Endpoints.Token}} \
  -d grant_type=refresh_token \
  --data-urlencode "client_id=$CLIENT_ID" \
  --data-urlencode "refresh_token=$REFRESH_TOKEN"
