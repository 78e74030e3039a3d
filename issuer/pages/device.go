package pages

import (
	"net/http"
	"time"
)

// Device asks for the code that a device shows (RFC 8628 §3.3). The form carries FieldUserCode, as typed.
type Device struct {
	Action string // path that the form is posted to
	CSRF   string

	UserCode string // filled in beforehand, from verification_uri_complete or a wrong attempt
	Error    DeviceError
	Wait     time.Duration // with DeviceThrottled: how long until the next attempt is answered

	LanguageURL string // see Login.LanguageURL
}

// DeviceError is why the code is asked for again.
type DeviceError string

const (
	DeviceUnknown   DeviceError = "unknown"   // no such code, or it has expired or been used: not told apart
	DeviceThrottled DeviceError = "throttled" // too many attempts: Wait
)

// DeviceConfirm asks whether the device may act for the person. It shows the code again, and where the device asked from, since a
// stranger may have sent the link (RFC 8628 §5.4). The form carries ActionAllow, ActionDeny or ActionSwitchUser.
type DeviceConfirm struct {
	Action      string // path that the form is posted to
	CSRF        string
	Transaction string

	Client     string
	ClientHost string // see Consent.ClientHost
	User       string
	UserCode   string // as the device shows it
	Scopes     []Scope
	Resources  []string
	Offline    bool          // see Consent.Offline
	OfflineFor time.Duration // see Consent.OfflineFor

	Address   string // of the device that asked; may be empty
	Requested time.Time

	LanguageURL string // see Login.LanguageURL
}

// DeviceResult ends the flow in the browser.
type DeviceResult struct {
	Client   string
	Approved bool // else denied

	LanguageURL string // see Login.LanguageURL
}

// Device renders the form for the user code.
func (p *Pages) Device(w http.ResponseWriter, r *http.Request, status int, d Device) {
	p.render(w, r, page{template: "device.html", status: status, data: d, languageURL: d.LanguageURL})
}

// DeviceConfirm renders the question whether the device may connect.
func (p *Pages) DeviceConfirm(w http.ResponseWriter, r *http.Request, status int, d DeviceConfirm) {
	p.render(w, r, page{template: "device_confirm.html", status: status, data: d, languageURL: d.LanguageURL})
}

// DeviceResult renders what came of it.
func (p *Pages) DeviceResult(w http.ResponseWriter, r *http.Request, status int, d DeviceResult) {
	p.render(w, r, page{template: "device_result.html", status: status, data: d, languageURL: d.LanguageURL})
}
