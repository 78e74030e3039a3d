package browsertest

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/audits"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// patience bounds every single step: a page that does not come fails its test, and not the whole run.
const patience = 15 * time.Second

// chromium is the browser of the whole package. Each test has a context of its own in it, with its own cookies.
var chromium context.Context

func TestMain(m *testing.M) {
	flag.Parse()
	stop, err := startBrowser()
	if err != nil {
		fmt.Fprintln(os.Stderr, "FAIL:", err)
		os.Exit(1)
	}
	code := m.Run()
	stop()
	os.Exit(code)
}

func startBrowser() (stop func(), err error) {
	path, err := exec.LookPath("chromium")
	if err != nil {
		return nil, fmt.Errorf("these tests need a browser: apt-get install chromium")
	}
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		// Going back asks the server again, whatever the browser could have kept.
		chromedp.Flag("disable-features", "Translate,BackForwardCache"),
		// Pages are measured and photographed: no bar may take room.
		chromedp.Flag("hide-scrollbars", true),
	)
	allocator, stopAllocator := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, cancel := chromedp.NewContext(allocator)
	if err := chromedp.Do(ctx); err != nil {
		return nil, fmt.Errorf("%s does not start: %w", path, err)
	}
	chromium = ctx
	return func() { cancel(); stopAllocator() }, nil
}

// tab is a browser of its own, as far as pages can tell.
type tab struct {
	t   testing.TB
	ctx context.Context

	noScript bool
	foreign  string // pages whose address begins so are other people's work: axe does not judge them
	status   int64  // of the last page

	mu       sync.Mutex
	reported []string // by the browser, on its console
}

// open opens a browser that prefers English. At the end of the test it must have reported nothing but what was expected.
func open(t testing.TB) *tab {
	t.Helper()
	b := &tab{t: t}
	ctx, cancel := chromedp.NewContext(chromium, chromedp.WithNewBrowserContext(), chromedp.WithListener(b.listen))
	b.ctx = ctx
	t.Cleanup(cancel)
	t.Cleanup(b.checkReports)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("open a tab: %v", err)
	}
	call(b, audits.Enable, cdp.Empty{})
	b.prefer("en")
	return b
}

// call sends a command of the DevTools protocol.
func call[P, R any](b *tab, command cdp.Command[P, R], params P) R {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	result, err := chromedp.Call(ctx, command, params)
	if err != nil {
		b.t.Fatalf("%s: %v", command.Method, err)
	}
	return result
}

// run does one thing in the tab.
func run[T any](b *tab, what string, action chromedp.Action[T]) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	result, err := chromedp.Run(ctx, action)
	if err != nil {
		b.t.Fatalf("%s: %v\nconsole: %q\npage: %s", what, err, b.reports(), b.describe())
	}
	return result
}

// describe says where the tab is, for messages of failures.
func (b *tab) describe() string {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](`location.href.slice(0, 200) + " " + document.body.innerText.slice(0, 600)`))
	if err != nil {
		return err.Error()
	}
	return text
}

// prefer sets the language that the browser asks for.
func (b *tab) prefer(language string) {
	b.t.Helper()
	call(b, network.SetExtraHTTPHeaders, network.SetExtraHTTPHeadersParams{Headers: network.Headers{"Accept-Language": language}})
}

// withoutScript turns scripts off, as a person may do.
func (b *tab) withoutScript() *tab {
	b.t.Helper()
	b.noScript = true
	call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	return b
}

// visit goes to an address and waits for the page.
func (b *tab) visit(address string) *tab {
	b.t.Helper()
	response := run(b, "visit "+address, chromedp.NavigateResponse(address))
	return b.arrived(response)
}

// press clicks on what the selector finds and waits for the page that follows.
func (b *tab) press(selector string) *tab {
	b.t.Helper()
	response := run(b, "press "+selector, func(ctx context.Context, _ *chromedp.Target) (*network.Response, error) {
		return chromedp.RunResponse(ctx, chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible))
	})
	return b.arrived(response)
}

// action presses the button that stands for an action of the forms.
func (b *tab) action(value string) *tab {
	b.t.Helper()
	return b.press(`button[value="` + value + `"]`)
}

func (b *tab) arrived(response *network.Response) *tab {
	b.t.Helper()
	b.status = 0
	if response != nil {
		b.status = response.Status
	}
	if b.foreign == "" || response == nil || !strings.HasPrefix(response.URL, b.foreign) {
		b.checkAccessibility()
	}
	return b
}

// fill types a text into a field, in place of what stands there.
func (b *tab) fill(selector, text string) *tab {
	b.t.Helper()
	field := chromedp.CSS(selector)
	run(b, "fill "+selector, chromedp.Steps(chromedp.Clear(field, chromedp.NodeVisible), chromedp.SendKeys(field, text)))
	return b
}

// login fills in the sign-in page and sends it.
func (b *tab) login(username, password string) *tab {
	b.t.Helper()
	return b.fill("#username", username).fill("#password", password).action("login")
}

// depart goes to an address whose page sends the browser on to a client by itself, and waits until the client shows its answer.
func (b *tab) depart(address string) *tab {
	b.t.Helper()
	run(b, "leave for "+address, chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, page.Navigate, page.NavigateParams{URL: address})
		return err
	}))
	return b
}

// leave clicks, where the page that follows sends the browser on by itself.
func (b *tab) leave(selector string) *tab {
	b.t.Helper()
	run(b, "press "+selector, chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible))
	return b
}

// enter sends the form that has the focus, and waits for the page that follows.
func (b *tab) enter() *tab {
	b.t.Helper()
	return b.arrived(run(b, "press Enter", func(ctx context.Context, _ *chromedp.Target) (*network.Response, error) {
		return chromedp.RunResponse(ctx, chromedp.KeyEvent(kb.Enter))
	}))
}

// typed types with whatever has the focus.
func (b *tab) typed(keys string) *tab {
	b.t.Helper()
	run(b, "type", chromedp.KeyEvent(keys))
	return b
}

// focused is the id of the element that has the focus.
func (b *tab) focused() string {
	b.t.Helper()
	return evaluate[string](b, "document.activeElement.id")
}

// back presses the browser's back button.
func (b *tab) back() *tab {
	b.t.Helper()
	return b.arrived(run(b, "go back", func(ctx context.Context, _ *chromedp.Target) (*network.Response, error) {
		return chromedp.RunResponse(ctx, func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
			history, err := cdp.Call(ctx, t, page.GetNavigationHistory, cdp.Empty{})
			if err != nil {
				return chromedp.Void{}, err
			}
			entry := history.Entries[history.CurrentIndex-1].ID
			_, err = cdp.Call(ctx, t, page.NavigateToHistoryEntry, page.NavigateToHistoryEntryParams{EntryID: entry})
			return chromedp.Void{}, err
		})
	}))
}

// await waits for an element that can be seen.
func (b *tab) await(selector string) *tab {
	b.t.Helper()
	run(b, "wait for "+selector, chromedp.WaitVisible(chromedp.CSS(selector)))
	return b
}

// text is what a person reads there.
func (b *tab) text(selector string) string {
	b.t.Helper()
	return strings.TrimSpace(run(b, "read "+selector, chromedp.Text(chromedp.CSS(selector), chromedp.NodeVisible)))
}

// has tells whether the page has such an element now.
func (b *tab) has(selector string) bool {
	b.t.Helper()
	return evaluate[bool](b, "document.querySelector("+quote(selector)+") !== null")
}

// evaluate asks the page; it works where the page's own scripts are off, too.
func evaluate[T any](b *tab, expression string) T {
	b.t.Helper()
	return run(b, expression, chromedp.Evaluate[T](expression))
}

func quote(s string) string {
	text, err := json.Marshal(s)
	if err != nil { // a string
		panic(err)
	}
	return string(text)
}

// heading fails unless the page has that heading.
func (b *tab) heading(want string) *tab {
	b.t.Helper()
	if got := b.text("h1"); got != want {
		b.t.Fatalf("the heading is %q, want %q\npage: %s", got, want, b.describe())
	}
	return b
}

// answered fails unless the last page had that status.
func (b *tab) answered(status int64) *tab {
	b.t.Helper()
	if b.status != status {
		b.t.Errorf("status %d, want %d\npage: %s", b.status, status, b.describe())
	}
	return b
}

// listen collects what the browser reports, whoever in the page caused it.
func (b *tab) listen(event any) {
	text := ""
	switch e := event.(type) {
	case *log.EventEntryAdded:
		if b.foreign != "" && e.Entry.Source != log.EntrySourceSecurity {
			return // advice to the authors of other people's pages
		}
		text = string(e.Entry.Source) + ": " + e.Entry.Text
	case *runtime.EventConsoleAPICalled:
		text = fmt.Sprintf("console.%s", e.Type)
	case *runtime.EventExceptionThrown:
		text = "exception: " + e.ExceptionDetails.Text
	case *audits.EventIssueAdded:
		if csp := e.Issue.Details.ContentSecurityPolicyIssueDetails; csp != nil {
			text = fmt.Sprintf("policy: %s blocked %q", csp.ViolatedDirective, csp.BlockedURL)
		}
	}
	// A refusal has a status, which the tests look at themselves.
	if text == "" || strings.HasPrefix(text, "network: Failed to load resource: the server responded with a status of ") {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reported = append(b.reported, text)
}

func (b *tab) reports() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.reported)
}

// expectReport takes out of the reports what fits, of which there must be something.
func (b *tab) expectReport(pattern string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	before := len(b.reported)
	b.reported = slices.DeleteFunc(b.reported, regexp.MustCompile(pattern).MatchString)
	if len(b.reported) == before {
		b.t.Errorf("the browser has not reported %q; it has reported %q", pattern, b.reported)
	}
}

func (b *tab) checkReports() {
	for _, text := range b.reports() {
		b.t.Errorf("the browser reported: %s", text)
	}
}
