AUTH_CODE='CODE_FROM_THE_REDIRECT'
curl -sS {{sh .Endpoints.Token}} \
  -d grant_type=authorization_code \
  --data-urlencode "client_id=$CLIENT_ID" \
  --data-urlencode "code=$AUTH_CODE" \
  --data-urlencode "redirect_uri=$REDIRECT_URI" \
  --data-urlencode "code_verifier=$CODE_VERIFIER"
