package pages

import (
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

func sameType(a, b any) bool { return reflect.TypeOf(a) == reflect.TypeOf(b) }

// document is what checkMarkup gathers in one walk.
type document struct {
	elements []*html.Node
	ids      map[string]*html.Node
}

func parse(t *testing.T, text string) document {
	t.Helper()
	root, err := html.Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	d := document{ids: make(map[string]*html.Node)}
	for n := range root.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		d.elements = append(d.elements, n)
		if id := attribute(n, "id"); hasAttribute(n, "id") {
			if id == "" {
				t.Errorf("<%s> has an empty id", n.Data)
			}
			if d.ids[id] != nil {
				t.Errorf("id %q stands twice", id)
			}
			d.ids[id] = n
		}
	}
	return d
}

func (d document) all(tag string) []*html.Node {
	return slices.DeleteFunc(slices.Clone(d.elements), func(n *html.Node) bool { return n.Data != tag })
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func hasAttribute(n *html.Node, name string) bool {
	return slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return a.Key == name })
}

func textOf(n *html.Node) string {
	var b strings.Builder
	for c := range n.Descendants() {
		if c.Type == html.TextNode {
			b.WriteString(c.Data)
		}
	}
	return strings.TrimSpace(b.String())
}

func checkMarkup(t *testing.T, text, lang string, plain bool) {
	t.Helper()
	if plain && strings.Contains(text, "ZgotmplZ") {
		t.Error("a URL of the example was refused by html/template")
	}
	d := parse(t, text)
	checkStructure(t, d, lang)
	checkNothingRuns(t, d)
	checkForms(t, d)
}

func checkStructure(t *testing.T, d document, lang string) {
	t.Helper()
	if got := attribute(d.all("html")[0], "lang"); got != lang {
		t.Errorf("html lang = %q, want %q (WCAG 3.1.1)", got, lang)
	}
	for _, tag := range []string{"h1", "main", "title"} {
		if found := d.all(tag); len(found) != 1 || textOf(found[0]) == "" {
			t.Errorf("%d <%s>, want one with text", len(found), tag)
		}
	}
	level := 0
	for _, n := range d.elements {
		if len(n.Data) == 2 && n.Data[0] == 'h' && n.Data[1] >= '1' && n.Data[1] <= '6' {
			next := int(n.Data[1] - '0')
			if next > level+1 {
				t.Errorf("<h%d> %q follows <h%d> (WCAG 1.3.1)", next, textOf(n), level)
			}
			level = next
		}
		for id := range strings.FieldsSeq(attribute(n, "aria-describedby") + " " + attribute(n, "aria-labelledby")) {
			if d.ids[id] == nil {
				t.Errorf("<%s> refers to the id %q, which is not there", n.Data, id)
			}
		}
		if n.Data == "img" && !hasAttribute(n, "alt") {
			t.Error("an image has no alt")
		}
		if (n.Data == "button" || n.Data == "a") && textOf(n) == "" {
			t.Errorf("a <%s> has no text", n.Data)
		}
	}
}

// checkNothingRuns holds the page to what its policy allows, for browsers that would not.
func checkNothingRuns(t *testing.T, d document) {
	t.Helper()
	for _, n := range d.elements {
		switch n.Data {
		case "style", "iframe", "object", "embed", "base", "svg", "math":
			t.Errorf("<%s> in a page", n.Data)
		case "script":
			if !strings.HasPrefix(attribute(n, "src"), "/assets/") || n.FirstChild != nil {
				t.Error("an inline script")
			}
		case "meta":
			if hasAttribute(n, "http-equiv") {
				t.Error("a meta element that acts as a header")
			}
		}
		for _, a := range n.Attr {
			if a.Key == "style" || strings.HasPrefix(a.Key, "on") {
				t.Errorf("<%s %s>", n.Data, a.Key)
			}
			if a.Key == "href" || a.Key == "src" || a.Key == "action" {
				checkURL(t, n.Data, a.Val)
			}
		}
	}
}

func checkURL(t *testing.T, tag, value string) {
	t.Helper()
	u, err := url.Parse(value)
	if err != nil {
		t.Errorf("<%s> leads to %q: %v", tag, value, err)
		return
	}
	if !slices.Contains([]string{"", "http", "https", "mailto"}, u.Scheme) {
		t.Errorf("<%s> leads to %q", tag, value)
	}
	if tag == "img" && (u.Host != "" || u.Scheme != "") {
		t.Errorf("<img> from another origin, %q", value)
	}
}

func checkForms(t *testing.T, d document) {
	t.Helper()
	labels := make(map[string]bool)
	for _, n := range d.all("label") {
		if id := attribute(n, "for"); id != "" && textOf(n) != "" {
			labels[id] = true
		}
	}
	for _, n := range d.elements {
		if n.Data != "input" && n.Data != "textarea" && n.Data != "select" {
			continue
		}
		if attribute(n, "type") == "hidden" || hasAttribute(n, "hidden") {
			continue
		}
		wrapped := n.Parent.Data == "label" && textOf(n.Parent) != ""
		if !wrapped && !labels[attribute(n, "id")] {
			t.Errorf("<%s name=%q> has no label (WCAG 3.3.2)", n.Data, attribute(n, "name"))
		}
	}
	for _, form := range d.all("form") {
		if attribute(form, "method") != "post" || !hasAttribute(form, "action") {
			t.Error("a form that is not posted to a named place")
		}
		if attribute(form, "id") != "form_post" && formField(form, FieldCSRF) == nil {
			t.Errorf("the form to %q has no %s", attribute(form, "action"), FieldCSRF)
		}
	}
}

func formField(form *html.Node, name string) *html.Node {
	for n := range form.Descendants() {
		if n.Type == html.ElementNode && attribute(n, "name") == name {
			return n
		}
	}
	return nil
}
