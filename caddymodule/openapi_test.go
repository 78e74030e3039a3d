package caddymodule

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-oauth-gate/caddy-oauth-gate/issuer/oauth"
)

// openAPI is as much of an OpenAPI 3.1 document as ours uses. A member that it does
// not know fails the test, as nothing would check what it says.
type openAPI struct {
	OpenAPI           string                                 `json:"openapi"`
	Info              json.RawMessage                        `json:"info"`
	JSONSchemaDialect string                                 `json:"jsonSchemaDialect"`
	Servers           json.RawMessage                        `json:"servers"`
	Tags              []struct{ Name, Description string }   `json:"tags"`
	Paths             map[string]map[string]openAPIOperation `json:"paths"`
	Components        struct {
		Parameters map[string]openAPIParameter `json:"parameters"`
		Responses  map[string]openAPIResponse  `json:"responses"`
		Schemas    map[string]*schema          `json:"schemas"`
	} `json:"components"`
}

type openAPIOperation struct {
	ID          string             `json:"operationId"`
	Summary     string             `json:"summary"`
	Description string             `json:"description"`
	Tags        []string           `json:"tags"`
	Parameters  []openAPIParameter `json:"parameters"`
	RequestBody *struct {
		Required bool           `json:"required"`
		Content  openAPIContent `json:"content"`
	} `json:"requestBody"`
	Responses map[string]openAPIResponse `json:"responses"`
}

type openAPIParameter struct {
	Ref         string  `json:"$ref"`
	Name        string  `json:"name"`
	In          string  `json:"in"`
	Required    bool    `json:"required"`
	Description string  `json:"description"`
	Schema      *schema `json:"schema"`
}

type openAPIResponse struct {
	Ref         string         `json:"$ref"`
	Description string         `json:"description"`
	Content     openAPIContent `json:"content"`
}

type openAPIContent map[string]struct {
	Schema *schema `json:"schema"`
}

// schema is the subset of JSON Schema that the document uses.
type schema struct {
	Ref         string             `json:"$ref"`
	Type        string             `json:"type"`
	Description string             `json:"description"`
	Format      string             `json:"format"`
	Enum        []string           `json:"enum"`
	Minimum     *float64           `json:"minimum"`
	Maximum     *float64           `json:"maximum"`
	Default     any                `json:"default"`
	Properties  map[string]*schema `json:"properties"`
	Required    []string           `json:"required"`
	Items       *schema            `json:"items"`
	// Additional is false, true, or a schema.
	Additional json.RawMessage `json:"additionalProperties"`
}

// readOpenAPI reads the document and puts in place what it refers to.
func readOpenAPI(t testing.TB) *openAPI {
	t.Helper()
	doc := new(openAPI)
	decoder := json.NewDecoder(strings.NewReader(ofCheckout(t, "docs/admin-api.openapi.json")))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(doc); err != nil {
		t.Fatal(err)
	}
	for _, operations := range doc.Paths {
		for method, operation := range operations {
			for n, p := range operation.Parameters {
				operation.Parameters[n] = referred(t, p.Ref, "parameters", doc.Components.Parameters, p)
			}
			for status, r := range operation.Responses {
				operation.Responses[status] = referred(t, r.Ref, "responses", doc.Components.Responses, r)
			}
			operations[method] = operation
		}
	}
	return doc
}

// referred is what a reference stands for, or itself where there is none.
func referred[T any](t testing.TB, ref, kind string, all map[string]T, itself T) T {
	t.Helper()
	if ref == "" {
		return itself
	}
	found, ok := all[strings.TrimPrefix(ref, "#/components/"+kind+"/")]
	if !ok {
		t.Fatalf("nothing is at %s", ref)
	}
	return found
}

func (d *openAPI) resolve(s *schema) *schema {
	for s != nil && s.Ref != "" {
		s = d.Components.Schemas[strings.TrimPrefix(s.Ref, "#/components/schemas/")]
	}
	return s
}

// check holds a value, as encoding/json decodes it, against a schema.
func (d *openAPI) check(at string, s *schema, value any) error {
	s = d.resolve(s)
	if s == nil {
		return fmt.Errorf("%s: a schema is missing", at)
	}
	switch v := value.(type) {
	case map[string]any:
		return d.checkObject(at, s, v)
	case []any:
		if s.Type != "array" {
			return fmt.Errorf("%s: an array, want %s", at, s.Type)
		}
		for n, one := range v {
			if err := d.check(fmt.Sprintf("%s[%d]", at, n), s.Items, one); err != nil {
				return err
			}
		}
	case string:
		if s.Type != "string" || s.Enum != nil && !slices.Contains(s.Enum, v) {
			return fmt.Errorf("%s: %q, want %s %v", at, v, s.Type, s.Enum)
		}
		if s.Format == "date-time" {
			if _, err := time.Parse(time.RFC3339, v); err != nil {
				return fmt.Errorf("%s: %w", at, err)
			}
		}
	case float64:
		if s.Type != "integer" || v != float64(int64(v)) || s.Minimum != nil && v < *s.Minimum || s.Maximum != nil && v > *s.Maximum {
			return fmt.Errorf("%s: %v is no %s in its bounds", at, v, s.Type)
		}
	case bool:
		if s.Type != "boolean" {
			return fmt.Errorf("%s: %v, want %s", at, v, s.Type)
		}
	default:
		return fmt.Errorf("%s: %v, want %s", at, v, s.Type)
	}
	return nil
}

func (d *openAPI) checkObject(at string, s *schema, members map[string]any) error {
	if s.Type != "object" {
		return fmt.Errorf("%s: an object, want %s", at, s.Type)
	}
	for _, name := range s.Required {
		if _, ok := members[name]; !ok {
			return fmt.Errorf("%s has no %s", at, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		property := s.Properties[name]
		switch additional := string(bytes.TrimSpace(s.Additional)); {
		case property != nil:
		case additional == "true":
			continue
		case additional == "false" || additional == "":
			return fmt.Errorf("%s has %s, which is not described", at, name)
		default:
			property = new(schema)
			if err := json.Unmarshal(s.Additional, property); err != nil {
				return err
			}
		}
		if err := d.check(at+"."+name, property, members[name]); err != nil {
			return err
		}
	}
	return nil
}

// member is a member of an object, as a Go type encodes it: its JSON type, and
// whether it is always there.
type member struct {
	jsonType string
	always   bool
}

// membersOf are the members that encoding/json gives to a struct.
func membersOf(of reflect.Type) map[string]member {
	all := make(map[string]member)
	for _, field := range reflect.VisibleFields(of) {
		name, options, tagged := strings.Cut(field.Tag.Get("json"), ",")
		if !field.IsExported() || name == "-" || field.Anonymous && name == "" {
			continue
		}
		if name == "" {
			name = field.Name
		}
		all[name] = member{jsonTypeOf(field.Type), !tagged || !strings.Contains(options, "omit")}
	}
	return all
}

func jsonTypeOf(of reflect.Type) string {
	for of.Kind() == reflect.Pointer {
		of = of.Elem()
	}
	switch {
	case of == reflect.TypeFor[time.Time](), of == reflect.TypeFor[oauth.Scope]():
		return "string"
	case of == reflect.TypeFor[json.RawMessage]():
		return "object"
	}
	switch of.Kind() {
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Int, reflect.Int64:
		return "integer"
	case reflect.Slice:
		return "array"
	}
	return "object"
}
