<?php
session_start();
$base64url = fn (string $bytes) => rtrim(strtr(base64_encode($bytes), '+/', '-_'), '=');

if (!isset($_GET['code'])) {
    $_SESSION['verifier'] = $base64url(random_bytes(32));
    $_SESSION['state'] = $base64url(random_bytes(16));
    header('Location: ' . {{php .Endpoints.Authorization}} . '?' . http_build_query([
        'response_type' => 'code',
        'client_id' => 'YOUR_CLIENT_ID',
        'redirect_uri' => 'https://app.example.com/callback.php',{{with .UserScope}}
        'scope' => {{php .}},{{end}}{{with .Resource}}
        'resource' => {{php .}},{{end}}
        'state' => $_SESSION['state'],
        'code_challenge' => $base64url(hash('sha256', $_SESSION['verifier'], true)),
        'code_challenge_method' => 'S256',
    ]));
    exit;
}
if (!isset($_SESSION['state']) || !hash_equals($_SESSION['state'], $_GET['state'] ?? '')) {
    exit('not our request');
}
$curl = curl_init({{php .Endpoints.Token}});
curl_setopt_array($curl, [
    CURLOPT_RETURNTRANSFER => true,
    CURLOPT_USERPWD => 'YOUR_CLIENT_ID:' . getenv('CLIENT_SECRET'),
    CURLOPT_POSTFIELDS => http_build_query([
        'grant_type' => 'authorization_code',
        'code' => $_GET['code'],
        'redirect_uri' => 'https://app.example.com/callback.php',
        'code_verifier' => $_SESSION['verifier'],
    ]),
]);
$token = json_decode(curl_exec($curl), true);

$curl = curl_init({{php .ExampleResource}});
curl_setopt($curl, CURLOPT_HTTPHEADER, ['Authorization: Bearer ' . $token['access_token']]);
curl_exec($curl);
