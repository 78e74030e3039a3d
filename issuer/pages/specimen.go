package pages

import (
	"reflect"
	"time"
)

// specimen returns a value of the type of v in which every flag is set, every text is filled and every list has an entry, so
// that executing a template on it walks the branches that the zero value leaves out. Enumerations (named string types) stay
// empty: not every string is one of them.
func specimen(v any) any {
	filled := reflect.New(reflect.TypeOf(v)).Elem()
	fill(filled)
	return filled.Interface()
}

func fill(v reflect.Value) {
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.Date(2006, time.January, 2, 15, 4, 5, 0, time.UTC)))
		return
	case string:
		v.SetString("/specimen")
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(time.Hour))
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		entry := reflect.New(v.Type().Elem()).Elem()
		fill(entry)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.Zero(v.Type().Key()), entry)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	}
}
