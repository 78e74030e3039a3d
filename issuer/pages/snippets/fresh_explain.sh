caddy oauth explain TOKEN {{sh .ExampleResource}}
