package browsertest

import "testing"

// The answer comes as a form: sent by the one script there is, or by the person where scripts are off.
func TestFormPost(t *testing.T) {
	t.Parallel()
	_, app := newIssuer(t)
	for _, test := range []struct {
		name     string
		noScript bool
	}{{"with scripts", false}, {"without scripts", true}} {
		t.Run(test.name, func(t *testing.T) {
			b := open(t)
			if test.noScript {
				b.withoutScript()
			}
			b.visit(app.request("response_mode", "form_post", "prompt", "consent")).login(ada, adaPassword)
			if test.noScript {
				b.action("allow").press("#form_post button")
			} else {
				b.leave(`button[value="allow"]`)
			}
			b.await("#answer")
			got := app.answer()
			if got.method != "POST" || got.Get("code") == "" {
				t.Errorf("the client got %s %v", got.method, got.Values)
			}

			// A refusal takes the same way.
			address := app.request("response_mode", "form_post", "prompt", "none", "max_age", "0")
			if test.noScript {
				b.visit(address).press("#form_post button").await("#answer")
			} else {
				b.depart(address)
			}
			got = app.answer()
			if got.method != "POST" || got.Get("error") != "login_required" {
				t.Errorf("the client got %s %v", got.method, got.Values)
			}
		})
	}
}
