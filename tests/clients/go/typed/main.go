// Command typed uses typed clients of client-go that speak protobuf alone, as the controllers of kube-controller-manager
// do: for each kind it creates, gets, lists, watches, patches in four ways, updates and deletes an object, and compares
// what comes back field by field with what it sent and with what JSON says of it.
//
// It starts the daemon itself: typed -triune PATH. With -kubeconfig PATH it asks a server that is there, any.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"triune.dev/tests/clients/go/daemon"
)

const (
	protobuf = "application/vnd.kubernetes.protobuf"
	manager  = "typed"
	patience = 20 * time.Second
)

func main() {
	triune := flag.String("triune", "", "the daemon's binary")
	kubeconfig := flag.String("kubeconfig", "", "of a server that is there, instead")
	flag.Parse()
	passed, failed, err := run(*triune, *kubeconfig)
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
	fmt.Printf("%d passed, %d failed\n", passed, failed)
	if failed > 0 {
		os.Exit(1)
	}
}

func run(triune, kubeconfig string) (passed, failed int, err error) {
	if kubeconfig != "" {
		config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
		if err != nil {
			return 0, 0, err
		}
		return session(config)
	}
	folder, err := os.MkdirTemp("", "triune-typed-")
	if err != nil {
		return 0, 0, err
	}
	defer os.RemoveAll(folder)
	server, err := daemon.New(triune, folder)
	if err != nil {
		return 0, 0, err
	}
	if err := server.Start(); err != nil {
		return 0, 0, err
	}
	defer server.End(syscall.SIGKILL)
	config, err := server.Config()
	if err != nil {
		return 0, 0, err
	}
	return session(config)
}

// session tests all kinds on one server.
func session(config *rest.Config) (passed, failed int, err error) {
	clients, err := newClients(config)
	if err != nil {
		return 0, 0, err
	}
	for _, test := range kinds(clients) {
		if err := test.run(); err != nil {
			failed++
			fmt.Printf("%s: %v\n", test.kind, err)
			continue
		}
		passed++
		fmt.Printf("%s ok\n", test.kind)
	}
	return passed, failed, nil
}

// clients are the same client twice.
type clients struct {
	protobuf, json *kubernetes.Clientset
	forms          *forms
}

func newClients(config *rest.Config) (*clients, error) {
	seen := &forms{}
	speaking := rest.CopyConfig(config)
	speaking.ContentType, speaking.AcceptContentTypes = protobuf, protobuf
	speaking.UserAgent = manager + "/v1"
	speaking.Wrap(func(inner http.RoundTripper) http.RoundTripper { return seen.around(inner) })
	first, err := kubernetes.NewForConfig(speaking)
	if err != nil {
		return nil, err
	}
	plain := rest.CopyConfig(config)
	plain.ContentType, plain.AcceptContentTypes = runtime.ContentTypeJSON, runtime.ContentTypeJSON
	second, err := kubernetes.NewForConfig(plain)
	return &clients{protobuf: first, json: second, forms: seen}, err
}

// forms are the media types of answers that were not asked for.
type forms struct {
	mutex sync.Mutex
	wrong []string
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return f(request) }

func (f *forms) around(inner http.RoundTripper) http.RoundTripper {
	return roundTripper(func(request *http.Request) (*http.Response, error) {
		response, err := inner.RoundTrip(request)
		if err != nil {
			return nil, err
		}
		media, _, _ := strings.Cut(response.Header.Get("Content-Type"), ";")
		if media != protobuf {
			f.mutex.Lock()
			f.wrong = append(f.wrong, fmt.Sprintf("%s %s: %s", request.Method, request.URL.Path, media))
			f.mutex.Unlock()
		}
		return response, nil
	})
}

func (f *forms) check() error {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if len(f.wrong) > 0 {
		wrong := f.wrong
		f.wrong = nil
		return fmt.Errorf("answers in another form: %v", wrong)
	}
	return nil
}

// object is a pointer to a type of the API.
type object interface {
	metav1.Object
	runtime.Object
}

// typed is what the typed clients of all kinds have.
type typed[T object, L runtime.Object] interface {
	Create(context.Context, T, metav1.CreateOptions) (T, error)
	Update(context.Context, T, metav1.UpdateOptions) (T, error)
	Delete(context.Context, string, metav1.DeleteOptions) error
	Get(context.Context, string, metav1.GetOptions) (T, error)
	List(context.Context, metav1.ListOptions) (L, error)
	Watch(context.Context, metav1.ListOptions) (watch.Interface, error)
	Patch(context.Context, string, types.PatchType, []byte, metav1.PatchOptions, ...string) (T, error)
}

// test is the test of one kind.
type test struct {
	kind string
	run  func() error
}

// of is the test of a kind: sent is a complete object with a name.
func of[T object, L runtime.Object](clients *clients, client, inJSON typed[T, L], sent T) test {
	kinds, _, err := scheme.Scheme.ObjectKinds(sent)
	if err != nil || len(kinds) == 0 {
		return test{reflect.TypeOf(sent).String(), func() error { return err }}
	}
	talk := &conversation[T, L]{client: client, inJSON: inJSON, sent: sent, gvk: kinds[0].GroupVersion().String() + " " + kinds[0].Kind}
	talk.apiVersion, talk.kind = kinds[0].ToAPIVersionAndKind()
	return test{talk.gvk, func() error { return errors.Join(talk.run(), clients.forms.check()) }}
}

type conversation[T object, L runtime.Object] struct {
	client, inJSON        typed[T, L]
	sent                  T
	gvk, apiVersion, kind string
	stream                watch.Interface
}

func (s *conversation[T, L]) run() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	one := metav1.ListOptions{FieldSelector: "metadata.name=" + s.sent.GetName()}
	before, err := s.client.List(ctx, one)
	if err != nil {
		return fmt.Errorf("list before: %w", err)
	}
	one.ResourceVersion = any(before).(metav1.ListInterface).GetResourceVersion()
	s.stream, err = s.client.Watch(ctx, one)
	if err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	defer s.stream.Stop()

	created, err := s.client.Create(ctx, s.sent, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}
	if err := s.compare(ctx, "create", s.sent, created, watch.Added); err != nil {
		return err
	}
	if err := s.list(ctx, one, created); err != nil {
		return err
	}
	if err := s.patches(ctx); err != nil {
		return err
	}
	return s.end(ctx)
}

// compare checks what an answer says against what was sent, a get in both forms, and the event.
func (s *conversation[T, L]) compare(ctx context.Context, step string, sent, answer T, event watch.EventType) error {
	if err := contains(tree(sent), tree(answer)); err != nil {
		return fmt.Errorf("%s: %w", step, err)
	}
	got, err := s.client.Get(ctx, s.sent.GetName(), metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("%s, get: %w", step, err)
	}
	plain, err := s.inJSON.Get(ctx, s.sent.GetName(), metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("%s, get in JSON: %w", step, err)
	}
	shown, err := s.event(ctx, event)
	if err != nil {
		return fmt.Errorf("%s: %w", step, err)
	}
	for form, other := range map[string]T{"get": got, "get in JSON": plain, "event": shown} {
		if err := same(answer, other); err != nil {
			return fmt.Errorf("%s, %s: %w", step, form, err)
		}
	}
	return nil
}

// event is the next one.
func (s *conversation[T, L]) event(ctx context.Context, wanted watch.EventType) (shown T, err error) {
	select {
	case <-ctx.Done():
		return shown, fmt.Errorf("no event %s", wanted)
	case event, open := <-s.stream.ResultChan():
		shown, fits := event.Object.(T)
		if !open || event.Type != wanted || !fits {
			return shown, fmt.Errorf("event %s of %T instead of %s", event.Type, event.Object, wanted)
		}
		return shown, nil
	}
}

func (s *conversation[T, L]) list(ctx context.Context, one metav1.ListOptions, created T) error {
	one.ResourceVersion = ""
	list, err := s.client.List(ctx, one)
	if err != nil {
		return fmt.Errorf("list: %w", err)
	}
	items := tree(list)["items"].([]any)
	if len(items) != 1 {
		return fmt.Errorf("list: %d items", len(items))
	}
	expected := tree(created)
	for _, field := range []string{"apiVersion", "kind"} {
		delete(expected, field)
		delete(items[0].(map[string]any), field)
	}
	return contains(expected, items[0])
}

// patches changes labels and annotations with each kind of patch, the last one of them an apply, and with an update.
func (s *conversation[T, L]) patches(ctx context.Context) error {
	name := s.sent.GetName()
	configuration := fmt.Sprintf(`{"apiVersion":%q,"kind":%q,"metadata":{"name":%q,"labels":{"applied":"yes"}}}`, s.apiVersion, s.kind, name)
	for _, patch := range []struct {
		media   types.PatchType
		text    string
		options metav1.PatchOptions
		label   string
	}{
		{types.StrategicMergePatchType, `{"metadata":{"labels":{"strategic":"yes"}}}`, metav1.PatchOptions{}, "strategic"},
		{types.MergePatchType, `{"metadata":{"labels":{"merge":"yes"}}}`, metav1.PatchOptions{}, "merge"},
		{types.JSONPatchType, `[{"op":"add","path":"/metadata/labels/json","value":"yes"}]`, metav1.PatchOptions{}, "json"},
		{types.ApplyPatchType, configuration, metav1.PatchOptions{FieldManager: "applier"}, "applied"},
	} {
		patched, err := s.client.Patch(ctx, name, patch.media, []byte(patch.text), patch.options)
		if err != nil {
			return fmt.Errorf("%s: %w", patch.media, err)
		}
		if patched.GetLabels()[patch.label] != "yes" {
			return fmt.Errorf("%s: labels are %v", patch.media, patched.GetLabels())
		}
		if err := s.compare(ctx, string(patch.media), patched, patched, watch.Modified); err != nil {
			return err
		}
	}
	found, err := s.client.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("get: %w", err)
	}
	owns := func(who string, how metav1.ManagedFieldsOperationType) bool {
		return slices.ContainsFunc(found.GetManagedFields(), func(entry metav1.ManagedFieldsEntry) bool {
			return entry.Manager == who && entry.Operation == how && entry.APIVersion == s.apiVersion
		})
	}
	if !owns(manager, metav1.ManagedFieldsOperationUpdate) || !owns("applier", metav1.ManagedFieldsOperationApply) {
		return fmt.Errorf("fields are managed by %v", found.GetManagedFields())
	}
	found.SetAnnotations(map[string]string{"updated": "yes"})
	updated, err := s.client.Update(ctx, found, metav1.UpdateOptions{})
	if err != nil {
		return fmt.Errorf("update: %w", err)
	}
	if updated.GetAnnotations()["updated"] != "yes" {
		return fmt.Errorf("update: annotations are %v", updated.GetAnnotations())
	}
	return s.compare(ctx, "update", updated, updated, watch.Modified)
}

func (s *conversation[T, L]) end(ctx context.Context) error {
	now := int64(0)
	if err := s.client.Delete(ctx, s.sent.GetName(), metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	return nil
}

// tree is an object as JSON says it, without what is nothing.
func tree(of runtime.Object) map[string]any {
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(of)
	if err != nil {
		panic(err)
	}
	return unstructured.Unstructured{Object: fields}.Object
}

// same tells whether two answers show the same object.
func same(one, other runtime.Object) error {
	first, second := tree(one), tree(other)
	for _, fields := range []map[string]any{first, second} {
		delete(fields, "apiVersion")
		delete(fields, "kind")
		// Objects within objects have no type in protobuf.
		claims, _, _ := unstructured.NestedSlice(fields, "spec", "volumeClaimTemplates")
		for _, claim := range claims {
			delete(claim.(map[string]any), "apiVersion")
			delete(claim.(map[string]any), "kind")
		}
		if len(claims) > 0 {
			unstructured.SetNestedSlice(fields, claims, "spec", "volumeClaimTemplates")
		}
	}
	if !reflect.DeepEqual(first, second) {
		return fmt.Errorf("%s is not %s", text(second), text(first))
	}
	return nil
}

func text(value any) string {
	bytes, err := json.Marshal(value)
	if err != nil {
		return err.Error()
	}
	return string(bytes)
}

// contains tells whether every field that was sent came back as it was. A list comes back whole and in order.
func contains(sent, got any) error {
	switch sent := sent.(type) {
	case nil:
		return nil
	case map[string]any:
		fields, fits := got.(map[string]any)
		if !fits && len(sent) > 0 {
			return fmt.Errorf("%s is not %s", text(got), text(sent))
		}
		for name, value := range sent {
			if isNothing(value) {
				continue
			}
			if err := contains(value, fields[name]); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		return nil
	case []any:
		items, fits := got.([]any)
		if !fits || len(items) != len(sent) {
			return fmt.Errorf("%s is not %s", text(got), text(sent))
		}
		for index, item := range sent {
			if err := contains(item, items[index]); err != nil {
				return fmt.Errorf("[%d]: %w", index, err)
			}
		}
		return nil
	default:
		if !reflect.DeepEqual(sent, got) {
			return fmt.Errorf("%s is not %s", text(got), text(sent))
		}
		return nil
	}
}

// isNothing tells whether Go wrote a value that nobody set.
func isNothing(value any) bool {
	fields, isMap := value.(map[string]any)
	return value == nil || isMap && !slices.ContainsFunc(slicesOf(fields), func(field any) bool { return !isNothing(field) })
}

func slicesOf(fields map[string]any) []any {
	values := make([]any, 0, len(fields))
	for _, value := range fields {
		values = append(values, value)
	}
	return values
}
