// The authorization code flow with PKCE (RFC 6749 section 4.1, RFC 7636), in the
// browser and without a library. The token is kept in memory and nowhere else: a
// reload of the page asks for another one, which shows nothing to a person who is
// still signed in and has agreed before.

const issuer = "https://auth.example.com";
const api = "https://api.example.com";
const client = { id: "shop", redirectURI: location.origin + "/", scope: "orders:read" };

let token; // { value, expires }

document.querySelector("#orders").addEventListener("click", () => show(authorize));
if (location.search) show(redeem);

// show does something and tells what went wrong with it.
async function show(step) {
	try {
		await step();
	} catch (error) {
		document.querySelector("#status").textContent = error.message;
	}
}

// authorize sends the person to the issuer, unless there is a token.
async function authorize() {
	if (token && Date.now() < token.expires) return call();
	const { authorization_endpoint } = await metadata();
	const request = { state: random(), verifier: random() };
	// What comes back is compared with it. It is in this tab alone, and used once.
	sessionStorage.setItem("request", JSON.stringify(request));
	const parameters = new URLSearchParams({
		response_type: "code",
		client_id: client.id,
		redirect_uri: client.redirectURI,
		scope: client.scope,
		resource: api,
		state: request.state,
		code_challenge: base64url(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(request.verifier))),
		code_challenge_method: "S256",
	});
	location.assign(authorization_endpoint + "?" + parameters);
}

// redeem exchanges the code that the issuer has sent back for a token.
async function redeem() {
	const answer = new URLSearchParams(location.search);
	history.replaceState(null, "", "/"); // the code is to be in no bookmark
	const request = JSON.parse(sessionStorage.getItem("request") ?? "{}");
	sessionStorage.removeItem("request");
	// An answer to something this page did not ask, or of somebody else (RFC 9207).
	if (!request.state || answer.get("state") !== request.state) throw new Error("This answer was not asked for.");
	if (answer.get("iss") !== issuer) throw new Error("This answer is from somebody else.");
	if (answer.has("error")) throw new Error(answer.get("error_description") ?? answer.get("error"));

	const { token_endpoint } = await metadata();
	const response = await fetch(token_endpoint, {
		method: "POST",
		body: new URLSearchParams({
			grant_type: "authorization_code",
			client_id: client.id,
			redirect_uri: client.redirectURI,
			code: answer.get("code"),
			code_verifier: request.verifier,
		}),
	});
	const body = await response.json();
	if (!response.ok) throw new Error(body.error_description ?? body.error);
	token = { value: body.access_token, expires: Date.now() + body.expires_in * 1000 };
	await call();
}

// call asks the API. A token that is refused is forgotten: the next press of the
// button gets another one.
async function call() {
	const response = await fetch(api + "/orders", { headers: { Authorization: "Bearer " + token.value } });
	if (response.status === 401) token = undefined;
	document.querySelector("#answer").textContent = response.ok ? await response.text() : "";
	document.querySelector("#status").textContent = response.ok ? "Your orders" : "The API refuses: " + response.headers.get("WWW-Authenticate");
}

// metadata is where the endpoints of the issuer are (RFC 8414).
async function metadata() {
	const response = await fetch(issuer + "/.well-known/oauth-authorization-server");
	const found = await response.json();
	if (found.issuer !== issuer) throw new Error("This metadata is of another issuer.");
	return found;
}

// random is 256 bits that nobody can guess.
function random() {
	return base64url(crypto.getRandomValues(new Uint8Array(32)));
}

function base64url(bytes) {
	return btoa(String.fromCharCode(...new Uint8Array(bytes))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
