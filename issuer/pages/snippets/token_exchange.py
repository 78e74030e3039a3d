# Python 3, no further packages
import json, urllib.parse, urllib.request

ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"


def exchange(client_token, user_token):
    """client_token: from the client credentials flow; user_token: from your identity provider."""
    form = urllib.parse.urlencode({
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "actor_token": client_token,
        "actor_token_type": ACCESS_TOKEN,
        "subject_token": user_token,
        "subject_token_type": ACCESS_TOKEN,{{with .ExampleScope}}
        "scope": {{py .}},{{end}}{{with .Resource}}
        "resource": {{py .}},{{end}}
    }).encode()
    request = urllib.request.Request(
        {{py .Endpoints.Token}}, form, {"Authorization": "Bearer " + client_token})
    with urllib.request.urlopen(request) as response:
        return json.load(response)
