package caddymodule

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// OAuthSD documents its token endpoint with examples in PHP and for SPIP. They
// run here as they are, through PHP, with the host filled in: both ways to
// authenticate, the older path, and redirect_uri given or left out.

const oauthsdCaddyfile = `{
	oauth {
		issuer $GATE {
			endpoint token /oauth/token.php
			client chemin_openid {
				secret {$OAUTHSD_SECRET:01fc458}
				grant authorization_code refresh_token
				redirect_uri http://localhost/callback_openid.php
				scope openid profile offline_access
				pkce optional
			}
		}
	}
}

$GATE {
	oauth_issuer
}
`

// The examples. Each takes the server's URL and the code as arguments and prints
// status, headers and body of the answer as JSON.
var oauthsdExamples = map[string]string{
	"in the body": `
$url = $argv[1] . '/token';
$data = array(
	'grant_type' => 'authorization_code',
	'code' => $argv[2],
	'redirect_uri' => 'http://localhost/callback_openid.php',
	'client_id' => 'chemin_openid',
	'client_secret' => '01fc458',
);
curl_setopt_array($ch = curl_init($url), array(CURLOPT_POST => true, CURLOPT_POSTFIELDS => http_build_query($data)));`,

	"in the header": `
$url = $argv[1] . '/token';
$data = array(
	'grant_type' => 'authorization_code',
	'code' => $argv[2],
	'redirect_uri' => 'http://localhost/callback_openid.php',
);
$client_id = 'chemin_openid';
$client_secret = '01fc458';
curl_setopt_array($ch = curl_init($url), array(CURLOPT_POST => true, CURLOPT_POSTFIELDS => http_build_query($data),
	CURLOPT_USERPWD => $client_id . ':' . $client_secret));`,

	"SPIP, the older path": `
$url = $argv[1] . '/oauth/token.php';
$options = array(
	'method' => 'POST',
	'datas' => array(
		'grant_type' => 'authorization_code',
		'code' => $argv[2],
		'redirect_uri' => 'http://localhost/callback_openid.php',
		'client_id' => 'chemin_openid',
		'client_secret' => '01fc458',
	)
);
curl_setopt_array($ch = curl_init($url), array(CURLOPT_CUSTOMREQUEST => $options['method'],
	CURLOPT_POSTFIELDS => http_build_query($options['datas'])));`,

	"without redirect_uri": `
curl_setopt_array($ch = curl_init($argv[1] . '/token'), array(CURLOPT_POST => true,
	CURLOPT_POSTFIELDS => http_build_query(array('grant_type' => 'authorization_code', 'code' => $argv[2])),
	CURLOPT_USERPWD => 'chemin_openid:01fc458'));`,

	"a wrong redirect_uri": `
curl_setopt_array($ch = curl_init($argv[1] . '/token'), array(CURLOPT_POST => true,
	CURLOPT_POSTFIELDS => http_build_query(array('grant_type' => 'authorization_code', 'code' => $argv[2],
		'redirect_uri' => 'http://localhost/other.php')),
	CURLOPT_USERPWD => 'chemin_openid:01fc458'));`,
}

const oauthsdEnd = `
$headers = array();
curl_setopt($ch, CURLOPT_RETURNTRANSFER, true);
curl_setopt($ch, CURLOPT_HEADERFUNCTION, function ($ch, $line) use (&$headers) {
	$parts = explode(':', $line, 2);
	if (count($parts) == 2) { $headers[strtolower($parts[0])] = trim($parts[1]); }
	return strlen($line);
});
$body = curl_exec($ch);
echo json_encode(array('status' => curl_getinfo($ch, CURLINFO_RESPONSE_CODE), 'headers' => $headers, 'page' => json_decode($body, true)));
`

type oauthsdAnswer struct {
	Status  int               `json:"status"`
	Headers map[string]string `json:"headers"`
	Page    map[string]any    `json:"page"`
}

func TestOAuthSDExamples(t *testing.T) {
	s := start(t, oauthsdCaddyfile, "")
	p := s.person()
	code := func(scope string) string {
		p.open(s.url + "/authorize?response_type=code&client_id=chemin_openid&redirect_uri=http://localhost/callback_openid.php&state=x&scope=" + scope)
		if strings.Contains(p.page, `value="login"`) {
			p.signIn(s.url)
		}
		if p.at == "" {
			p.press(s.url+"/consent", "allow")
		}
		return p.answer().Get("code")
	}
	for name, example := range oauthsdExamples {
		t.Run(name, func(t *testing.T) {
			got := runPHP(t, example+oauthsdEnd, s.url, code("openid"))
			if cache := got.Headers["cache-control"]; cache != "no-cache, no-store" {
				t.Errorf("Cache-Control %q", cache)
			}
			if strings.HasPrefix(name, "a wrong") {
				if got.Status != 400 || got.Page["error"] != "invalid_grant" || got.Page["error_description"] == "" {
					t.Errorf("answer %+v: want an error and its description", got)
				}
				return
			}
			page := got.Page
			if got.Status != 200 || page["access_token"] == nil || page["expires_in"] != 3600.0 || page["token_type"] != "Bearer" || page["scope"] != "openid" || page["id_token"] == nil {
				t.Errorf("answer %+v: want all that the documentation promises", got)
			}
			if page["refresh_token"] != nil {
				t.Error("a refresh token, though offline_access was not asked for")
			}
		})
	}
	t.Run("offline_access", func(t *testing.T) {
		got := runPHP(t, oauthsdExamples["in the header"]+oauthsdEnd, s.url, code("openid+offline_access"))
		if got.Page["refresh_token"] == nil {
			t.Errorf("answer %+v: want a refresh token", got)
		}
	})
}

func runPHP(t *testing.T, program string, arguments ...string) oauthsdAnswer {
	t.Helper()
	php, err := exec.LookPath("php")
	if err != nil {
		t.Fatal("php is missing: apt-get install php-cli php-curl")
	}
	file := filepath.Join(t.TempDir(), "example.php")
	if err := os.WriteFile(file, []byte("<?php\n"+program), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	output, err := exec.CommandContext(ctx, php, append([]string{file}, arguments...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("php: %v (it needs the extension curl: apt-get install php-curl): %s", err, output)
	}
	var answer oauthsdAnswer
	if err := json.Unmarshal(output, &answer); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	return answer
}
