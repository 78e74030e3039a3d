# Python 3, no further packages
import json, time, urllib.error, urllib.parse, urllib.request


def post(url, form):
    try:
        with urllib.request.urlopen(url, urllib.parse.urlencode(form).encode()) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        return json.load(error)


device = post({{py .Endpoints.DeviceAuthorization}}, {
    "client_id": "YOUR_CLIENT_ID",{{with .UserScope}}
    "scope": {{py .}},{{end}}
})
print("Open", device["verification_uri"], "and enter", device["user_code"])

interval = device["interval"]
while True:
    time.sleep(interval)
    token = post({{py .Endpoints.Token}}, {
        "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
        "client_id": "YOUR_CLIENT_ID",
        "device_code": device["device_code"],
    })
    if token.get("error") == "slow_down":
        interval += 5
    elif token.get("error") != "authorization_pending":
        break
print(token.get("error", "Connected"))
