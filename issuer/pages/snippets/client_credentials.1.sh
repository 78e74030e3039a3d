CLIENT_ID='YOUR_CLIENT_ID'
CLIENT_SECRET='YOUR_CLIENT_SECRET'
curl -sS {{sh .Endpoints.Token}} \
  --user "$CLIENT_ID:$CLIENT_SECRET" \
  -d grant_type=client_credentials{{with .ExampleScope}} \
  --data-urlencode {{sh (print "scope=" .)}}{{end}}{{with .Resource}} \
  --data-urlencode {{sh (print "resource=" .)}}{{end}}
