// Answers how the reference's code decodes, normalises and patches objects, so that tests can compare.
//
// It reads one JSON object a line, {"group", "version", "kind", "object", "patch", "modified", "protobuf", "encode"}, and
// writes one for each:
// {"error"}, or
//   - with a patch {"object"}: the strategic merge
//   - with a modified object {"patch", "object"}: the strategic patch between the two, and its merge
//   - with protobuf, a message, {"object"}: what it says in JSON
//   - with encode {"protobuf"}: the message of the object
//   - else {"unknown", "object"}: what decoding into the Go type and encoding again leaves
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	kjson "sigs.k8s.io/json"

	"triune/tools/facts/known"
)

type question struct {
	Group, Version, Kind string
	Object, Patch        json.RawMessage
	Modified             json.RawMessage
	Protobuf             []byte
	Encode               bool
}

type message interface {
	Reset()
	Unmarshal([]byte) error
	Marshal() ([]byte, error)
}

type answer struct {
	Error   string      `json:"error,omitempty"`
	Unknown []string    `json:"unknown,omitempty"`
	Object  interface{} `json:"object,omitempty"`
	Patch   interface{} `json:"patch,omitempty"`
	// Bytes without any are a message too.
	Protobuf *[]byte `json:"protobuf,omitempty"`
}

func main() {
	types, err := known.Types()
	if err != nil {
		panic(err)
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<26)
	out := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		if err := out.Encode(reply(types, lines.Bytes())); err != nil {
			panic(err)
		}
	}
}

func reply(types *runtime.Scheme, line []byte) (given answer) {
	defer func() {
		if panicked := recover(); panicked != nil {
			given = answer{Error: fmt.Sprint("panic: ", panicked)}
		}
	}()
	var asked question
	if err := json.Unmarshal(line, &asked); err != nil {
		return answer{Error: err.Error()}
	}
	object, err := types.New(schema.GroupVersionKind{Group: asked.Group, Version: asked.Version, Kind: asked.Kind})
	if err != nil {
		return answer{Error: err.Error()}
	}
	if asked.Modified != nil {
		patch, err := strategicpatch.CreateTwoWayMergePatch(asked.Object, asked.Modified, object)
		if err != nil {
			return answer{Error: err.Error()}
		}
		asked.Patch = patch
		given = merge(object, asked)
		given.Patch = json.RawMessage(patch)
		return given
	}
	if asked.Patch != nil {
		return merge(object, asked)
	}
	if asked.Protobuf != nil {
		return decodeProtobuf(object.(message), asked.Protobuf)
	}
	strictErrors, err := kjson.UnmarshalStrict(asked.Object, object)
	if err != nil {
		return answer{Error: err.Error()}
	}
	if asked.Encode {
		return encodeProtobuf(object.(message))
	}
	for _, strictError := range strictErrors {
		if path, ok := strings.CutPrefix(strictError.Error(), "unknown field "); ok {
			given.Unknown = append(given.Unknown, strings.Trim(path, `"`))
		}
	}
	given.Object = object
	return given
}

func decodeProtobuf(object message, bytes []byte) answer {
	object.Reset()
	if err := object.Unmarshal(bytes); err != nil {
		return answer{Error: err.Error()}
	}
	text, err := json.Marshal(object)
	if err != nil {
		return answer{Error: err.Error()}
	}
	return answer{Object: json.RawMessage(text)}
}

func encodeProtobuf(object message) answer {
	bytes, err := object.Marshal()
	if err != nil {
		return answer{Error: err.Error()}
	}
	return answer{Protobuf: &bytes}
}

func merge(object runtime.Object, asked question) answer {
	original, patch := map[string]interface{}{}, map[string]interface{}{}
	for text, into := range map[*json.RawMessage]*map[string]interface{}{&asked.Object: &original, &asked.Patch: &patch} {
		if err := kjson.UnmarshalCaseSensitivePreserveInts(*text, into); err != nil {
			return answer{Error: err.Error()}
		}
	}
	merged, err := strategicpatch.StrategicMergeMapPatch(original, patch, object)
	if err != nil {
		return answer{Error: err.Error()}
	}
	return answer{Object: merged}
}
