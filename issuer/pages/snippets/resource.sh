ACCESS_TOKEN='YOUR_ACCESS_TOKEN'
curl -sS {{sh .ExampleResource}} -H "Authorization: Bearer $ACCESS_TOKEN"
