<?php
$curl = curl_init({{php .Endpoints.Token}});
curl_setopt_array($curl, [
    CURLOPT_RETURNTRANSFER => true,
    CURLOPT_USERPWD => 'YOUR_CLIENT_ID:' . getenv('CLIENT_SECRET'),
    CURLOPT_POSTFIELDS => http_build_query([
        'grant_type' => 'client_credentials',{{with .ExampleScope}}
        'scope' => {{php .}},{{end}}{{with .Resource}}
        'resource' => {{php .}},{{end}}
    ]),
]);
$token = json_decode(curl_exec($curl), true);
if (isset($token['error'])) {
    exit($token['error'] . ': ' . $token['error_description'] . "\n");
}

$curl = curl_init({{php .ExampleResource}});
curl_setopt($curl, CURLOPT_HTTPHEADER, ['Authorization: Bearer ' . $token['access_token']]);
curl_exec($curl);
