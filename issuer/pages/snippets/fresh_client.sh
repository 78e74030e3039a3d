caddy oauth client add --name 'My service' --grant client_credentials{{range .ExampleScopes}} --scope {{sh .}}{{end}}
caddy oauth client add --name 'My web app' --type public --grant authorization_code --redirect-uri https://app.example.com/callback{{range .UserScopes}} --scope {{sh .}}{{end}}
