// Command api-cases prints what the reference's libraries make of made-up inputs: one JSON object a line with kind,
// input and output. core/api/tests/reference.rs compares this project with them. Write the file anew with
//
//	go run . > ../../core/api/tests/reference.jsonl
package main

import (
	"encoding/json"
	"fmt"
	"math/rand"
	"os"
	"regexp"
	"strings"
	"time"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"
)

type kind struct {
	name   string
	count  int
	input  func() any
	output func(input any) string
}

var longExponent = regexp.MustCompile(`[eE][-+]?[0-9]{3,}`)

var random = rand.New(rand.NewSource(1))

func main() {
	printer := json.NewEncoder(os.Stdout)
	printer.SetEscapeHTML(false)
	for _, kind := range kinds {
		seen := map[string]bool{}
		for tries := 0; len(seen) < kind.count && tries < 100*kind.count; tries++ {
			input := kind.input()
			key := fmt.Sprint(input)
			output, ok := guarded(kind.output, input)
			// The first few of an output are as good as all of them.
			if seen[key] || !ok || repeats(kind.name+output) {
				continue
			}
			seen[key] = true
			if err := printer.Encode(map[string]any{"kind": kind.name, "input": input, "output": output}); err != nil {
				panic(err)
			}
		}
	}
}

var outputs = map[string]int{}

func repeats(output string) bool {
	outputs[output]++
	return outputs[output] > 8
}

// Some inputs make the libraries panic: no case.
func guarded(output func(any) string, input any) (text string, ok bool) {
	defer func() {
		if recover() != nil {
			text, ok = "", false
		}
	}()
	return output(input), true
}

func words(most int, alphabet ...string) func() any {
	return func() any {
		var text strings.Builder
		for range random.Intn(most + 1) {
			text.WriteString(alphabet[random.Intn(len(alphabet))])
		}
		return text.String()
	}
}

var kinds = []kind{
	{"quantity", 250, words(5, "0", "1", "5", "8", "24", ".", "-", "+", "e3", "E-6", "e1", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ei", "000", "12345678"),
		func(input any) string {
			if longExponent.MatchString(input.(string)) {
				panic("takes for ever")
			}
			quantity, err := resource.ParseQuantity(input.(string))
			if err != nil {
				return "error: " + err.Error()
			}
			canonical := quantity.DeepCopy()
			canonical.Add(resource.Quantity{})
			return quantity.String() + " " + canonical.String()
		}},
	{"label selector", 250, words(9, "a", "b", "x/y", "in", "notin", "=", "==", "!=", "!", "(", ")", ",", ",", "<", ">", " ", " ", "1", "5", "_", "A.b", "é"),
		func(input any) string {
			selector, err := labels.Parse(input.(string))
			if err != nil {
				return "error: " + err.Error()
			}
			return selector.String()
		}},
	{"field selector", 150, words(8, "a", "b", "metadata.name", "=", "==", "!=", "!", ",", `\`, `\,`, `\=`, `\\`, " ", "é"),
		func(input any) string {
			selector, err := fields.ParseSelector(input.(string))
			if err != nil {
				return "error: " + err.Error()
			}
			return selector.String()
		}},
	{"json", 250, words(9, "{", "}", "[", "]", ",", ":", `"a"`, `"`, `\`, `\u12`, `\n`, "1", "0", "-", "1.5", ".", "e", "true", "tru", "null", "false", "x", " ", "\n", "\x01", "é"),
		func(input any) string {
			var value any
			if err := json.Unmarshal([]byte(input.(string)), &value); err != nil {
				return "error: " + err.Error()
			}
			return "fine"
		}},
	{"name", 50, words(7, "a", "b", "A", "0", "-", ".", "_", "/", "example.com/", "é", strings.Repeat("a", 60)),
		func(input any) string {
			text := input.(string)
			var parts []string
			for _, check := range []func(string) []string{
				validation.IsDNS1123Subdomain, validation.IsDNS1123Label, validation.IsDNS1035Label,
				validation.IsQualifiedName, validation.IsValidLabelValue,
			} {
				parts = append(parts, strings.Join(check(text), "; "))
			}
			return strings.Join(parts, " | ")
		}},
	{"duration", 150, func() any { return random.Intn([]int{200, 40_000, 800_000, 400_000_000}[random.Intn(4)]) - 5 },
		func(input any) string { return duration.HumanDuration(time.Duration(input.(int)) * time.Second) }},
	{"json patch", 250, patch, func(input any) string {
		pair := input.([]json.RawMessage)
		operations, err := jsonpatch.DecodePatch(pair[1])
		if err != nil {
			return "error: " + err.Error()
		}
		document, err := operations.Apply(pair[0])
		if err != nil {
			return "error: " + err.Error()
		}
		return sorted(document)
	}},
	{"merge patch", 150, func() any { return []json.RawMessage{raw(object("abc", 1)), raw(object("abcd", 1))} }, func(input any) string {
		pair := input.([]json.RawMessage)
		document, err := jsonpatch.MergePatch(pair[0], pair[1])
		if err != nil {
			return "error: " + err.Error()
		}
		return sorted(document)
	}},
	{"yaml scalar", 250, words(5, "0", "1", "7", "9", ".", "-", "+", "e", "E", "x", "o", "b", "_", "y", "n", "yes", "no", "on", "off", "~", "null", "true", ".inf", ".nan", "T", ":", "2026-11-24"),
		func(input any) string {
			document, err := yaml.YAMLToJSON([]byte("a: " + input.(string)))
			if err != nil {
				return "error"
			}
			return sorted(document)
		}},
}

func patch() any {
	paths := []string{"", "/a", "/a/b", "/a/b/0", "/a/b/-1", "/a/b/-", "/a/b/3", "/a/b/2/c", "/a/x", "/d", "/d/x", "/e", "/e/f",
		"/a/b/x", "/z/z", "a/b", "/a/b/-9", "/a~1b", "/~0", "/a/b/01", "/a/b/+1", "/"}
	values := []any{1, nil, map[string]any{"q": 1}, []any{1}, "x", map[string]any{"b": []any{1, 2, map[string]any{"c": nil}}}}
	var operations []map[string]any
	for range 1 + random.Intn(3) {
		operation := map[string]any{"op": []string{"add", "remove", "replace", "move", "copy", "test", "bad"}[random.Intn(7)]}
		if random.Intn(20) > 0 {
			operation["path"] = paths[random.Intn(len(paths))]
		}
		if random.Intn(10) > 0 {
			operation["from"] = paths[random.Intn(len(paths))]
		}
		if random.Intn(10) > 0 {
			operation["value"] = values[random.Intn(len(values))]
		}
		operations = append(operations, operation)
	}
	document := `{"a":{"b":[1,2,{"c":null}]},"d":"x","e":null}`
	return []json.RawMessage{json.RawMessage(document), raw(operations)}
}

func object(keys string, depth int) map[string]any {
	fields := map[string]any{}
	for _, key := range keys {
		fields[string(key)] = tree(depth)
	}
	return fields
}

func tree(depth int) any {
	switch choice := random.Intn(10); {
	case depth > 3 || choice < 4:
		return []any{1, nil, "x", true}[random.Intn(4)]
	case choice < 8:
		return object("abcd"[:random.Intn(4)], depth+1)
	default:
		var items []any
		for range random.Intn(4) {
			items = append(items, tree(depth+1))
		}
		return items
	}
}

func raw(value any) json.RawMessage {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return text
}

// The document with its keys in order.
func sorted(document []byte) string {
	var value any
	if err := json.Unmarshal(document, &value); err != nil {
		panic(err)
	}
	return string(raw(value))
}
