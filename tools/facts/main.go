// Writes facts of the built-in API types, without prose, one line a type or field. The format is described in
// core/schema/src/facts.rs, which reads it.
//
// Go reflection gives what the wire formats need (JSON names, omitempty, pointers, inlining, protobuf tags, patch
// strategies); the generated OpenAPI definitions give the rest (required, defaults, enums, list types, unions). The two
// are compared where they overlap; a difference that is not understood ends the program.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"sort"
	"strings"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/kube-openapi/pkg/common"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"triune/tools/facts/definitions"
	"triune/tools/facts/known"
)

const metaPackage = "k8s.io/apimachinery/pkg/apis/meta/v1"

// Types with a JSON form of their own.
var special = map[string]string{
	"k8s.io/apimachinery/pkg/api/resource.Quantity":                                         "quantity",
	"k8s.io/apimachinery/pkg/util/intstr.IntOrString":                                       "intorstring",
	"k8s.io/apimachinery/pkg/apis/meta/v1.Time":                                             "time",
	"k8s.io/apimachinery/pkg/apis/meta/v1.MicroTime":                                        "microtime",
	"k8s.io/apimachinery/pkg/apis/meta/v1.FieldsV1":                                         "fieldsv1",
	"k8s.io/apimachinery/pkg/runtime.RawExtension":                                          "raw",
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1.JSON":                         "json",
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1.JSONSchemaPropsOrArray":       "orarray",
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1.JSONSchemaPropsOrBool":        "orbool",
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1.JSONSchemaPropsOrStringArray": "orstrings",
}

type generator struct {
	models map[string]common.OpenAPIDefinition
	types  map[reflect.Type]bool
	kinds  map[reflect.Type]bool
	groups map[string]schema.GroupVersion
}

func main() {
	types, err := known.Types()
	must(err)
	g := generator{
		models: definitions.All(func(path string) spec.Ref { return spec.MustCreateRef(path) }),
		types:  map[reflect.Type]bool{},
		kinds:  map[reflect.Type]bool{},
		groups: map[string]schema.GroupVersion{},
	}
	for gvk, goType := range types.AllKnownTypes() {
		if gvk.Version == runtime.APIVersionInternal {
			continue
		}
		if goType.PkgPath() != metaPackage {
			if before, ok := g.groups[goType.PkgPath()]; ok && before != gvk.GroupVersion() {
				fail("%s serves %v and %v", goType.PkgPath(), before, gvk.GroupVersion())
			}
			g.groups[goType.PkgPath()] = gvk.GroupVersion()
		}
		if goType.Name() != gvk.Kind {
			fail("%s is known as %v", goType, gvk)
		}
		g.kinds[goType] = true
		g.collect(goType)
	}
	g.print(os.Args[1])
}

// Finds the struct types that a type is made of.
func (g *generator) collect(goType reflect.Type) {
	for goType.Kind() == reflect.Pointer || goType.Kind() == reflect.Slice || goType.Kind() == reflect.Map {
		goType = goType.Elem()
	}
	if goType.Kind() != reflect.Struct || g.types[goType] {
		return
	}
	if _, ok := special[fullName(goType)]; ok {
		if strings.HasPrefix(goType.Name(), "JSONSchemaProps") {
			g.collect(reflect.TypeFor[apiextensions.JSONSchemaProps]())
		}
		return
	}
	g.types[goType] = true
	for i := range goType.NumField() {
		if field := goType.Field(i); field.IsExported() && field.Tag.Get("json") != "-" {
			g.collect(field.Type)
		}
	}
}

func (g *generator) print(release string) {
	byPackage := map[string][]reflect.Type{}
	for goType := range g.types {
		byPackage[goType.PkgPath()] = append(byPackage[goType.PkgPath()], goType)
	}
	packages := make([]string, 0, len(byPackage))
	for path := range byPackage {
		packages = append(packages, path)
	}
	sort.Strings(packages)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	fmt.Fprintf(out, "# Facts of the API types of Kubernetes %s, written by tools/facts/generate. Do not edit.\n", release)
	for _, path := range packages {
		types := byPackage[path]
		sort.Slice(types, func(i, j int) bool { return types[i].Name() < types[j].Name() })
		fmt.Fprintf(out, "P\t%s\t%s", shortPackage(path), g.modelPrefix(types))
		if gv, ok := g.groups[path]; ok {
			fmt.Fprintf(out, "\t%s", gv)
		} else if path == metaPackage {
			fmt.Fprint(out, "\t*")
		}
		fmt.Fprintln(out)
		for _, goType := range types {
			g.printType(out, goType)
		}
	}
}

// Model names of a package are its prefix and the type's name.
func (g *generator) modelPrefix(types []reflect.Type) string {
	prefix := ""
	for _, goType := range types {
		name := modelName(goType)
		if name == "" {
			continue
		}
		own := strings.TrimSuffix(name, "."+goType.Name())
		if prefix != "" && own != prefix {
			fail("model names of one package begin with %s and %s", prefix, own)
		}
		prefix = own
	}
	if prefix == "" {
		fail("no model in the package of %s", types[0])
	}
	return prefix
}

func modelName(goType reflect.Type) string {
	if named, ok := reflect.New(goType).Elem().Interface().(interface{ OpenAPIModelName() string }); ok {
		return named.OpenAPIModelName()
	}
	return ""
}

func (g *generator) printType(out *bufio.Writer, goType reflect.Type) {
	model, modelled := g.models[modelName(goType)]
	fmt.Fprintf(out, "T\t%s", goType.Name())
	if g.kinds[goType] {
		fmt.Fprint(out, "\tk")
	}
	if value, ok := model.Schema.Extensions.GetString("x-kubernetes-map-type"); ok {
		fmt.Fprintf(out, "\tm=%s", value)
	}
	for key := range model.Schema.Extensions {
		if key != "x-kubernetes-map-type" && key != "x-kubernetes-unions" && key != "x-kubernetes-group-version-kind" {
			fail("%s has %s", goType, key)
		}
	}
	printUnions(out, model.Schema)
	fmt.Fprintln(out)
	required := map[string]bool{}
	for _, name := range model.Schema.Required {
		required[name] = true
	}
	unseen := map[string]bool{}
	for name := range model.Schema.Properties {
		unseen[name] = true
	}
	for i := range goType.NumField() {
		field := goType.Field(i)
		tag := strings.Split(field.Tag.Get("json"), ",")
		if !field.IsExported() || tag[0] == "-" && len(tag) == 1 {
			continue
		}
		if field.Anonymous && tag[0] == "" {
			// Inlined: written with Go's name, which error messages show.
			fmt.Fprintf(out, "^%s\t%s\t%s\n", field.Name, protobufTag(field), g.kind(field.Type, goType))
			if modelled {
				g.forgetInlined(field.Type, unseen)
			}
			continue
		}
		name := tag[0]
		if name == "" {
			name = field.Name
		}
		delete(unseen, name)
		fmt.Fprintf(out, "%s\t%s\t%s", name, protobufTag(field), g.kind(field.Type, goType))
		flags := ""
		for _, option := range tag[1:] {
			switch option {
			case "omitempty":
				flags += "o"
			case "omitzero":
				flags += "z"
			case "inline", "":
			default:
				fail("%s.%s: JSON option %s", goType, name, option)
			}
		}
		if required[name] {
			flags += "!"
		}
		if flags != "" {
			fmt.Fprintf(out, "\t%s", flags)
		}
		if strategy := field.Tag.Get("patchStrategy"); strategy != "" {
			fmt.Fprintf(out, "\tp=%s", strategy)
			if key := field.Tag.Get("patchMergeKey"); key != "" {
				fmt.Fprintf(out, ":%s", key)
			}
		}
		if modelled {
			property, ok := model.Schema.Properties[name]
			if !ok {
				fail("the model of %s has no %s", goType, name)
			}
			printProperty(out, goType, field, property)
		}
		fmt.Fprintln(out)
	}
	if len(unseen) > 0 {
		fail("the model of %s has %v besides its fields", goType, unseen)
	}
}

func (g *generator) forgetInlined(goType reflect.Type, unseen map[string]bool) {
	if goType.Kind() == reflect.Pointer {
		goType = goType.Elem()
	}
	for i := range goType.NumField() {
		field := goType.Field(i)
		name := strings.Split(field.Tag.Get("json"), ",")[0]
		if field.Anonymous && name == "" {
			g.forgetInlined(field.Type, unseen)
		}
		delete(unseen, name)
	}
}

func printUnions(out *bufio.Writer, model spec.Schema) {
	unions, _ := model.Extensions["x-kubernetes-unions"].([]interface{})
	for _, union := range unions {
		union := union.(map[string]interface{})
		discriminator, _ := union["discriminator"].(string)
		fields := union["fields-to-discriminateBy"].(map[string]interface{})
		names := make([]string, 0, len(fields))
		for name, value := range fields {
			names = append(names, fmt.Sprintf("%s=%s", name, value))
		}
		sort.Strings(names)
		fmt.Fprintf(out, "\tu=%s:%s", discriminator, strings.Join(names, ","))
	}
}

func printProperty(out *bufio.Writer, goType reflect.Type, field reflect.StructField, property spec.Schema) {
	if value, ok := property.Extensions.GetString("x-kubernetes-list-type"); ok {
		fmt.Fprintf(out, "\tl=%s", value)
		if keys, ok := property.Extensions["x-kubernetes-list-map-keys"].([]interface{}); ok {
			fmt.Fprintf(out, ":%s", join(keys))
		}
	}
	if value, ok := property.Extensions.GetString("x-kubernetes-map-type"); ok {
		fmt.Fprintf(out, "\tm=%s", value)
	}
	for key := range property.Extensions {
		switch key {
		case "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-map-type", "x-kubernetes-patch-strategy", "x-kubernetes-patch-merge-key":
		case "x-kubernetes-embedded-resource", "x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields":
			fmt.Fprintf(out, "\tx=%s", strings.TrimPrefix(key, "x-kubernetes-"))
		default:
			fail("%s.%s has %s", goType, field.Name, key)
		}
	}
	if strategy, _ := property.Extensions.GetString("x-kubernetes-patch-strategy"); strategy != field.Tag.Get("patchStrategy") {
		fmt.Fprintf(os.Stderr, "%s.%s: patch strategy %q in the model, %q in Go\n", goType, field.Name, strategy, field.Tag.Get("patchStrategy"))
	}
	enum := property.Enum
	if property.Items != nil && property.Items.Schema != nil && len(property.Items.Schema.Enum) > 0 {
		enum = property.Items.Schema.Enum
	}
	if property.AdditionalProperties != nil && property.AdditionalProperties.Schema != nil && len(property.AdditionalProperties.Schema.Enum) > 0 {
		enum = property.AdditionalProperties.Schema.Enum
	}
	if len(enum) > 0 {
		fmt.Fprintf(out, "\te=%s", join(enum))
	}
	if format := property.Format; format != "" && !impliedFormat(field.Type, format) {
		fmt.Fprintf(out, "\tf=%s", format)
	}
	if property.Default != nil && !impliedDefault(field, property.Default) {
		text, err := json.Marshal(property.Default)
		must(err)
		if strings.Contains(string(text), "\t") {
			fail("%s.%s: default with a tab", goType, field.Name)
		}
		fmt.Fprintf(out, "\td=%s", text)
	}
	for what, given := range map[string]bool{
		"pattern": property.Pattern != "", "minimum": property.Minimum != nil, "maximum": property.Maximum != nil,
		"minLength": property.MinLength != nil, "maxLength": property.MaxLength != nil, "nullable": property.Nullable,
	} {
		if given {
			fail("%s.%s has a %s", goType, field.Name, what)
		}
	}
}

// The format follows from the Go type.
func impliedFormat(goType reflect.Type, format string) bool {
	for goType.Kind() == reflect.Pointer {
		goType = goType.Elem()
	}
	switch goType.Kind() {
	case reflect.Int32:
		return format == "int32"
	case reflect.Int64, reflect.Int:
		return format == "int64" || goType.Kind() == reflect.Int && format == "int32"
	case reflect.Float64:
		return format == "double"
	case reflect.Slice:
		return format == "byte"
	}
	return false
}

// Zero values are what decoding leaves anyway; of fields with omitempty they are declared all the same, as keys of list
// maps need them.
func impliedDefault(field reflect.StructField, value interface{}) bool {
	switch field.Type.Kind() {
	case reflect.Struct:
		object, ok := value.(map[string]interface{})
		return ok && len(object) == 0
	case reflect.Pointer:
		return false
	}
	isZero := reflect.ValueOf(value).IsZero() || fmt.Sprint(value) == "0"
	return isZero && !strings.Contains(field.Tag.Get("json"), ",omitempty")
}

// Prints the number. Wire types follow from the Go type: the generated code heeds no others, and some tags are wrong.
func protobufTag(field reflect.StructField) string {
	parts := strings.Split(field.Tag.Get("protobuf"), ",")
	if len(parts) < 3 {
		return "-"
	}
	if field.Type.Kind() == reflect.Slice && field.Type.Name() != "" && parts[2] == "opt" {
		return parts[1] + "w" // a named slice, wrapped in a message
	}
	return parts[1]
}

// A Go type in the notation of the facts. `within` is the type whose field it is: its package's types need no prefix.
func (g *generator) kind(goType, within reflect.Type) string {
	if word, ok := special[fullName(goType)]; ok {
		if strings.HasPrefix(word, "or") {
			return word + "(JSONSchemaProps)"
		}
		return word
	}
	name := ""
	if goType.Name() != "" && goType.PkgPath() != "" {
		name = ":" + goType.String()
	}
	switch goType.Kind() {
	case reflect.Pointer:
		return "*" + g.kind(goType.Elem(), within)
	case reflect.Slice:
		if goType.Elem().Kind() == reflect.Uint8 {
			return "bytes" + name
		}
		return "[" + g.kind(goType.Elem(), within) + "]" + name
	case reflect.Map:
		key := ""
		if goType.Key().Kind() != reflect.String {
			fail("map with keys of type %s", goType.Key())
		}
		if goType.Key().PkgPath() != "" {
			key = goType.Key().String() + ">"
		}
		return "{" + key + g.kind(goType.Elem(), within) + "}" + name
	case reflect.Struct:
		if goType.PkgPath() == within.PkgPath() {
			return goType.Name()
		}
		return shortPackage(goType.PkgPath()) + "." + goType.Name()
	case reflect.String, reflect.Bool, reflect.Int, reflect.Int32, reflect.Int64, reflect.Float64:
		return goType.Kind().String() + name
	case reflect.Interface:
		return "any"
	}
	fail("%s has a field of type %s", within, goType)
	return ""
}

// The last two parts of a package's path, which are unique.
func shortPackage(path string) string {
	parts := strings.Split(path, "/")
	return strings.Join(parts[len(parts)-2:], "/")
}

func fullName(goType reflect.Type) string {
	return goType.PkgPath() + "." + goType.Name()
}

// Values separated by commas.
func join(values []interface{}) string {
	texts := make([]string, len(values))
	for i, value := range values {
		texts[i] = fmt.Sprint(value)
		if strings.ContainsAny(texts[i], ",\t") {
			fail("%q has a comma or tab", texts[i])
		}
	}
	return strings.Join(texts, ",")
}

func must(err error) {
	if err != nil {
		fail("%v", err)
	}
}

func fail(format string, arguments ...interface{}) {
	fmt.Fprintf(os.Stderr, "facts: "+format+"\n", arguments...)
	os.Exit(1)
}
