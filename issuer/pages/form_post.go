package pages

import (
	"errors"
	"net/http"
)

// FormPost carries an authorization response to the client as a form (OAuth 2.0 Form Post Response Mode). A script sends it
// at once; without scripts there is a button.
type FormPost struct {
	Client      string      // name of the client
	RedirectURI string      // http or https, proven to be the client's; another scheme cannot take a form, and is refused with a 500
	Fields      []FormField // code, state, iss; or error, error_description, state, iss
}

// FormField is a hidden field of a FormPost.
type FormField struct{ Name, Value string }

// FormPost renders the form that sends itself.
func (p *Pages) FormPost(w http.ResponseWriter, r *http.Request, d FormPost) {
	pg := page{
		template: "form_post.html", status: http.StatusOK, data: d,
		formTargets: []string{d.RedirectURI}, formLeaves: true,
	}
	if webURL(d.RedirectURI) == "" {
		p.fail(w, r, pg, errors.New("a form can only be posted to an http or https URL"))
		return
	}
	p.render(w, r, pg)
}
