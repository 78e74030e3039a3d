# Python 3, no further packages
import base64, json, os, urllib.parse, urllib.request

credentials = base64.b64encode(("YOUR_CLIENT_ID:" + os.environ["CLIENT_SECRET"]).encode()).decode()
form = urllib.parse.urlencode({
    "grant_type": "client_credentials",{{with .ExampleScope}}
    "scope": {{py .}},{{end}}{{with .Resource}}
    "resource": {{py .}},{{end}}
}).encode()
request = urllib.request.Request(
    {{py .Endpoints.Token}}, form, {"Authorization": "Basic " + credentials})
with urllib.request.urlopen(request) as response:
    token = json.load(response)

request = urllib.request.Request(
    {{py .ExampleResource}}, headers={"Authorization": "Bearer " + token["access_token"]})
with urllib.request.urlopen(request) as response:
    print(response.read().decode())
