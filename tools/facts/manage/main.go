// Answers who manages which field after writes, by the reference's code, so that tests can compare.
//
// Its argument is the folder of the OpenAPI v3 documents of k8s.io/kubernetes. It reads one JSON object a line,
// {"group", "version", "kind", "subresource", "steps": [{"apply", "manager", "force", "object"}]}, and writes one for
// each: {"results": [...]}, null for kinds without document, for each step the object that it leaves, or {"error", "status"}, which leaves the object
// as it was.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/kube-openapi/pkg/validation/spec"
	kjson "sigs.k8s.io/json"

	"triune/tools/facts/known"
)

type question struct {
	Group, Version, Kind, Subresource string
	Steps                             []step
}

type step struct {
	Apply   bool
	Manager string
	Force   bool
	Object  json.RawMessage
}

func main() {
	types, err := known.Types()
	if err != nil {
		panic(err)
	}
	schemas, err := schemas(os.Args[1])
	if err != nil {
		panic(err)
	}
	converter, err := managedfields.NewTypeConverter(schemas, false)
	if err != nil {
		panic(err)
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<26)
	out := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var asked question
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			panic(err)
		}
		if err := out.Encode(map[string]interface{}{"results": reply(versions{types}, converter, asked)}); err != nil {
			panic(err)
		}
	}
}

// schemas reads the components of all documents of a folder.
func schemas(folder string) (map[string]*spec.Schema, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.json"))
	if err != nil {
		return nil, err
	}
	schemas := map[string]*spec.Schema{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		var document struct {
			Components struct{ Schemas map[string]*spec.Schema }
		}
		if err := json.Unmarshal(text, &document); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		for name, schema := range document.Components.Schemas {
			schemas[name] = schema
		}
	}
	return schemas, nil
}

// versions makes Go's structs of everything, in the one version that there is of each kind.
type versions struct{ types *runtime.Scheme }

func (v versions) New(kind schema.GroupVersionKind) (runtime.Object, error) {
	object, err := v.types.New(kind)
	if err == nil {
		object.GetObjectKind().SetGroupVersionKind(kind)
	}
	return object, err
}

func (v versions) ConvertToVersion(in runtime.Object, _ runtime.GroupVersioner) (runtime.Object, error) {
	object, ok := in.(*unstructured.Unstructured)
	if !ok {
		return in, nil
	}
	out, err := v.New(object.GroupVersionKind())
	if err != nil {
		return nil, err
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, out); err != nil {
		return nil, fmt.Errorf("unable to convert unstructured object to %v: %w", object.GroupVersionKind(), err)
	}
	return out, nil
}

func (versions) Convert(_, _, _ interface{}) error { return errors.New("not asked for") }

func (versions) ConvertFieldLabel(_ schema.GroupVersionKind, _, _ string) (string, string, error) {
	return "", "", errors.New("not asked for")
}

func (versions) Default(runtime.Object) {}

func reply(versions versions, converter managedfields.TypeConverter, asked question) []interface{} {
	kind := schema.GroupVersionKind{Group: asked.Group, Version: asked.Version, Kind: asked.Kind}
	manager, err := managedfields.NewDefaultFieldManager(
		converter, versions, versions, versions, kind, kind.GroupVersion(), asked.Subresource, nil)
	if err != nil {
		panic(err)
	}
	live, err := versions.New(kind)
	if err != nil {
		panic(err)
	}
	if _, err := converter.ObjectToTyped(live); err != nil {
		return nil
	}
	results := []interface{}{}
	for _, step := range asked.Steps {
		next, err := write(versions, manager, kind, live.DeepCopyObject(), step)
		if err != nil {
			result := map[string]interface{}{"error": err.Error()}
			var status apierrors.APIStatus
			if errors.As(err, &status) {
				result["status"] = status.Status()
			}
			results = append(results, result)
			continue
		}
		live = next
		results = append(results, live.DeepCopyObject())
	}
	return results
}

func write(
	versions versions, manager *managedfields.FieldManager, kind schema.GroupVersionKind, live runtime.Object, step step,
) (written runtime.Object, err error) {
	defer func() {
		if panicked := recover(); panicked != nil {
			err = fmt.Errorf("panic: %v", panicked)
		}
	}()
	if step.Apply {
		object := map[string]interface{}{}
		if err := kjson.UnmarshalCaseSensitivePreserveInts(step.Object, &object); err != nil {
			return nil, err
		}
		return manager.Apply(live, &unstructured.Unstructured{Object: object}, step.Manager, step.Force)
	}
	object, err := versions.New(kind)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(step.Object, object); err != nil {
		return nil, fmt.Errorf("decoding: %s", strings.TrimSpace(err.Error()))
	}
	return manager.UpdateNoErrors(live, object, step.Manager), nil
}
