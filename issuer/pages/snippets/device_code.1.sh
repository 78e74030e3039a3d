CLIENT_ID='YOUR_CLIENT_ID'
curl -sS {{sh .Endpoints.DeviceAuthorization}} \
  --data-urlencode "client_id=$CLIENT_ID"{{with .UserScope}} \
  --data-urlencode {{sh (print "scope=" .)}}{{end}}
