CLIENT_ACCESS_TOKEN='YOUR_CLIENT_CREDENTIALS_ACCESS_TOKEN'
USER_ACCESS_TOKEN='EXTERNAL_IDP_USER_ACCESS_TOKEN'
curl -sS {{sh .Endpoints.Token}} \
  -H "Authorization: Bearer $CLIENT_ACCESS_TOKEN" \
  -d grant_type=urn:ietf:params:oauth:grant-type:token-exchange \
  -d actor_token_type=urn:ietf:params:oauth:token-type:access_token \
  --data-urlencode "actor_token=$CLIENT_ACCESS_TOKEN" \
  -d subject_token_type=urn:ietf:params:oauth:token-type:access_token \
  --data-urlencode "subject_token=$USER_ACCESS_TOKEN"{{with .ExampleScope}} \
  --data-urlencode {{sh (print "scope=" .)}}{{end}}{{with .Resource}} \
  --data-urlencode {{sh (print "resource=" .)}}{{end}}
