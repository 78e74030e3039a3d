package pages

import (
	"embed"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"text/template"
)

// The examples of the welcome page, as templates in the language they are written in. What they render is text: the page escapes
// it like any other.
//
//go:embed snippets
var snippetFiles embed.FS

// snippet renders snippets/<name>. Values go into the code through the quoting function of its language, so that a scope or URL
// with a quotation mark in it cannot change what a pasted example does.
func snippet(name string, data welcomeView) (string, error) {
	text, err := snippetFiles.ReadFile("snippets/" + name)
	if err != nil {
		return "", fmt.Errorf("no snippet %q", name)
	}
	t, err := template.New(name).Funcs(template.FuncMap{
		"sh": quoteShell, "php": quotePHP, "js": quoteJSON, "py": quoteJSON, "query": url.QueryEscape,
	}).Parse(string(text))
	if err != nil {
		return "", err
	}
	var b strings.Builder
	if err := t.Execute(&b, data); err != nil {
		return "", err
	}
	return strings.TrimSpace(b.String()), nil
}

// quoteShell quotes for a POSIX shell.
func quoteShell(s string) string {
	return "'" + strings.ReplaceAll(oneLine(s), "'", `'\''`) + "'"
}

// quotePHP quotes for PHP, whose double-quoted strings would expand variables.
func quotePHP(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(oneLine(s)) + "'"
}

// quoteJSON quotes for JavaScript and Python, which both read JSON's strings as their own.
func quoteJSON(s string) (string, error) {
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false) // the page escapes
	if err := encoder.Encode(oneLine(s)); err != nil {
		return "", err
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

// oneLine drops control characters: pasted into a terminal, a line end would be a command.
func oneLine(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return -1
		}
		return c
	}, s)
}
