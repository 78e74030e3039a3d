<?php
// $clientToken: from the client credentials flow; $userToken: from your identity provider.
function exchange(string $clientToken, string $userToken): array
{
    $accessToken = 'urn:ietf:params:oauth:token-type:access_token';
    $curl = curl_init({{php .Endpoints.Token}});
    curl_setopt_array($curl, [
        CURLOPT_RETURNTRANSFER => true,
        CURLOPT_HTTPHEADER => ['Authorization: Bearer ' . $clientToken],
        CURLOPT_POSTFIELDS => http_build_query([
            'grant_type' => 'urn:ietf:params:oauth:grant-type:token-exchange',
            'actor_token' => $clientToken,
            'actor_token_type' => $accessToken,
            'subject_token' => $userToken,
            'subject_token_type' => $accessToken,{{with .ExampleScope}}
            'scope' => {{php .}},{{end}}{{with .Resource}}
            'resource' => {{php .}},{{end}}
        ]),
    ]);
    return json_decode(curl_exec($curl), true);
}
