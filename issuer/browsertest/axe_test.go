package browsertest

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

//go:embed testdata/axe/axe.min.js
var axe string

// axeRun answers with what is wrong, one line a rule.
const axeRun = `axe.run(document, {resultTypes: ["violations"], runOnly: %s}).then(result => JSON.stringify(result.violations.map(
	v => v.id + ": " + v.help + ": " + v.nodes.map(n => n.html.slice(0, 200)).join(" | "))))`

// Rules whose outcome depends on the size of the window or on the colours.
const visualRules = `["color-contrast", "target-size", "scrollable-region-focusable", "link-in-text-block"]`

// judged are the pages that axe has seen: it takes its time, and most tests begin at the same sign-in page.
var judged sync.Map

// variable is what differs between two showings of one page: tokens, ports, times.
var variable = regexp.MustCompile(` (value|href|src|action|datetime)="[^"]*"|[0-9]+`)

// checkAccessibility holds the page in the tab against every rule of axe-core, unless one that looks the same was.
func (b *tab) checkAccessibility() {
	b.t.Helper()
	content := evaluate[string](b, "document.documentElement.outerHTML")
	if _, seen := judged.LoadOrStore(variable.ReplaceAllString(content, ""), true); !seen {
		b.judge()
	}
}

// judge fails for everything that axe finds. The rules run in a world of their own, which
// sees the document and not the page's scripts, and to which the page's Content-Security-Policy does not apply.
func (b *tab) judge() {
	b.t.Helper()
	for _, problem := range b.violations() {
		b.t.Errorf("axe: %s\npage: %s", problem, b.describe())
	}
}

func (b *tab) violations() []string {
	b.t.Helper()
	return b.examine("undefined")[0]
}

// examine runs rules of axe, all for undefined, after each of the changes to how the page is shown, or once.
func (b *tab) examine(rules string, changes ...func()) (found [][]string) {
	b.t.Helper()
	if b.noScript { // or axe could not run; scripts of the page that were not run before are not run now
		call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: false})
		defer call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	}
	frame := call(b, page.GetFrameTree, cdp.Empty{}).FrameTree.Frame
	world := call(b, page.CreateIsolatedWorld, page.CreateIsolatedWorldParams{FrameID: frame.ID, WorldName: "axe"}).ExecutionContextID
	b.evaluateIn(world, axe+"; null")
	if len(changes) == 0 {
		changes = []func(){func() {}}
	}
	for _, change := range changes {
		change()
		var text string
		var problems []string
		if err := json.Unmarshal(b.evaluateIn(world, fmt.Sprintf(axeRun, rules)), &text); err != nil {
			b.t.Fatalf("axe: %v", err)
		}
		if err := json.Unmarshal([]byte(text), &problems); err != nil {
			b.t.Fatalf("axe: %v: %s", err, text)
		}
		found = append(found, problems)
	}
	return found
}

// evaluateIn runs a script in a world and returns what it, or its promise, gives.
func (b *tab) evaluateIn(world runtime.ExecutionContextID, script string) []byte {
	b.t.Helper()
	yes := true
	result := call(b, runtime.Evaluate, runtime.EvaluateParams{Expression: script, ContextID: world, AwaitPromise: &yes, ReturnByValue: &yes})
	if result.ExceptionDetails != nil {
		b.t.Fatalf("axe: %s %v", result.ExceptionDetails.Text, result.ExceptionDetails.Exception)
	}
	return result.Result.Value
}

// A check that finds nothing in a bad page would find nothing anywhere.
func TestAxeFindsFaults(t *testing.T) {
	t.Parallel()
	b := open(t)
	run(b, "bad page", chromedp.Navigate(`data:text/html,<body style="background:white"><p style="color:silver">pale</p><input><img src="data:,">`))
	found := fmt.Sprint(b.violations())
	for _, rule := range []string{"color-contrast", "html-has-lang", "image-alt", "label", "document-title"} {
		if !strings.Contains(found, rule+":") {
			t.Errorf("axe did not find %s; it found %s", rule, found)
		}
	}
}
