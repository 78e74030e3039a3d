package caddymodule

import (
	"fmt"
	"reflect"
	"regexp"
	"strings"
)

// configPlaceholder is what Caddy would put something else in the place of, where it
// is asked to.
var configPlaceholder = regexp.MustCompile(`\{(?:\$|(env|file|system|time|http|tls|vars)\.)([^{}]*)\}`)

// refusePlaceholders returns an error if a text of the configuration has a
// placeholder and its field does not say that it may: by the tag `placeholders`, whose
// value tells who resolves it. It would be taken for what it is: an issuer, a client
// or a scope of the name {env.X}, which is nobody's, and nothing would tell of it.
func refusePlaceholders(config any) error {
	return refusePlaceholdersIn(reflect.ValueOf(config), nil)
}

func refusePlaceholdersIn(value reflect.Value, option []string) error {
	switch value.Kind() {
	case reflect.Pointer, reflect.Interface:
		if value.IsNil() {
			return nil
		}
		return refusePlaceholdersIn(value.Elem(), option)
	case reflect.Slice:
		for n := range value.Len() {
			if err := refusePlaceholdersIn(value.Index(n), option); err != nil {
				return err
			}
		}
	case reflect.Map:
		for _, key := range value.MapKeys() {
			if err := refusePlaceholdersIn(value.MapIndex(key), option); err != nil {
				return err
			}
		}
	case reflect.Struct:
		for n := range value.NumField() {
			field := value.Type().Field(n)
			if _, allowed := field.Tag.Lookup("placeholders"); allowed || !field.IsExported() {
				continue
			}
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			at := option
			if name != "" {
				at = append(option[:len(option):len(option)], name)
			}
			if err := refusePlaceholdersIn(value.Field(n), at); err != nil {
				return err
			}
		}
	case reflect.String:
		if found := configPlaceholder.FindStringSubmatch(value.String()); found != nil {
			return fmt.Errorf("%s: the placeholder %s has no effect here%s", strings.Join(option, ": "), found[0], insteadOf(found[1], found[2]))
		}
	}
	return nil
}

// insteadOf says what would have the effect of a placeholder.
func insteadOf(namespace, name string) string {
	if namespace == "env" {
		return "; a Caddyfile can say {$" + name + "}, which is replaced before it is read"
	}
	return ""
}
