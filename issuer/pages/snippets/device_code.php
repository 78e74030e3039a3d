<?php
function post(string $url, array $form): array
{
    $curl = curl_init($url);
    curl_setopt_array($curl, [
        CURLOPT_RETURNTRANSFER => true,
        CURLOPT_POSTFIELDS => http_build_query($form),
    ]);
    return json_decode(curl_exec($curl), true);
}

$device = post({{php .Endpoints.DeviceAuthorization}}, [
    'client_id' => 'YOUR_CLIENT_ID',{{with .UserScope}}
    'scope' => {{php .}},{{end}}
]);
echo "Open {$device['verification_uri']} and enter {$device['user_code']}\n";

$interval = $device['interval'];
do {
    sleep($interval);
    $token = post({{php .Endpoints.Token}}, [
        'grant_type' => 'urn:ietf:params:oauth:grant-type:device_code',
        'client_id' => 'YOUR_CLIENT_ID',
        'device_code' => $device['device_code'],
    ]);
    $error = $token['error'] ?? '';
    if ($error === 'slow_down') {
        $interval += 5;
    }
} while ($error === 'authorization_pending' || $error === 'slow_down');

echo $error !== '' ? "$error\n" : "Connected\n";
