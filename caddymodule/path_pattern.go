package caddymodule

import (
	"fmt"
	"path"
	"strings"
)

// validatePaths reports the first of the patterns that Caddy's path matcher would
// accept and that is for other paths than somebody who wrote it would think.
func validatePaths(patterns []string) error {
	for _, pattern := range patterns {
		switch _, err := path.Match(pattern, ""); {
		case strings.ContainsAny(pattern, "{}"): // which the matcher would replace, by nothing if it does not know it
			return fmt.Errorf("path %q: write * for a part of a path that varies; braces have no meaning here", pattern)
		case !strings.HasPrefix(pattern, "/") && !strings.HasPrefix(pattern, "*"):
			return fmt.Errorf("path %q: paths begin with a slash", pattern)
		case err != nil:
			return fmt.Errorf("path %q: %w", pattern, err)
		}
	}
	return nil
}

// patternCovers tells whether a pattern is certainly for every path that another one
// is for. It knows the usual patterns: a path, and all that begins with one.
func patternCovers(pattern, other string) bool {
	pattern, other = strings.ToLower(pattern), strings.ToLower(other)
	if pattern == other || pattern == "*" || pattern == "/*" {
		return true
	}
	prefix, begins := strings.CutSuffix(pattern, "*")
	if !begins || strings.ContainsAny(prefix, `*?[\`) {
		return false
	}
	for _, one := range []string{prefix, other} {
		if strings.Contains(one, "%") || strings.Contains(one, "//") { // compared with another form of the path
			return false
		}
	}
	return strings.HasPrefix(other, prefix) || other == strings.TrimSuffix(prefix, "/") // /a/* is for /a
}
