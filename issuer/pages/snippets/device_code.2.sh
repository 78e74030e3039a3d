DEVICE_CODE='DEVICE_CODE_FROM_THE_ANSWER'
curl -sS {{sh .Endpoints.Token}} \
  -d grant_type=urn:ietf:params:oauth:grant-type:device_code \
  --data-urlencode "client_id=$CLIENT_ID" \
  --data-urlencode "device_code=$DEVICE_CODE"
