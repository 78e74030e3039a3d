# Python 3, no further packages. A program on a computer: the browser comes back to a port of its own.
import base64, hashlib, http.server, json, secrets, urllib.parse, urllib.request, webbrowser

verifier = secrets.token_urlsafe(32)
challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
state = secrets.token_urlsafe(16)
answer = {}


class Callback(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        answer.update(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"You can close this window.")


server = http.server.HTTPServer(("127.0.0.1", 0), Callback)
redirect_uri = f"http://127.0.0.1:{server.server_port}/callback"
webbrowser.open({{py .Endpoints.Authorization}} + "?" + urllib.parse.urlencode({
    "response_type": "code",
    "client_id": "YOUR_CLIENT_ID",
    "redirect_uri": redirect_uri,{{with .UserScope}}
    "scope": {{py .}},{{end}}{{with .Resource}}
    "resource": {{py .}},{{end}}
    "state": state,
    "code_challenge": challenge,
    "code_challenge_method": "S256",
}))
while "state" not in answer:
    server.handle_request()
if answer["state"] != state or "code" not in answer:
    raise SystemExit(answer.get("error_description", "not our request"))

form = urllib.parse.urlencode({
    "grant_type": "authorization_code",
    "client_id": "YOUR_CLIENT_ID",
    "code": answer["code"],
    "redirect_uri": redirect_uri,
    "code_verifier": verifier,
}).encode()
with urllib.request.urlopen({{py .Endpoints.Token}}, form) as response:
    token = json.load(response)

request = urllib.request.Request(
    {{py .ExampleResource}}, headers={"Authorization": "Bearer " + token["access_token"]})
with urllib.request.urlopen(request) as response:
    print(response.read().decode())
