// Command informer is a client-go informer that must see each of 10,000 changes once, in order, although the daemon is
// stopped, killed and started again under it and the change log is compacted behind it.
//
// It starts the daemon itself: informer -triune PATH [-changes N].
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"triune.dev/tests/clients/go/daemon"
)

const (
	namespace = "default"
	writers   = 4
	names     = 25 // of each writer

	// Long enough for an informer to come back after a start of the daemon, short enough to wait for.
	compaction = "--etcd-compaction-interval=15s"
)

func main() {
	triune := flag.String("triune", "", "the daemon's binary")
	changes := flag.Int("changes", 10_000, "how many changes are made")
	seed := flag.Uint64("seed", uint64(time.Now().UnixNano()), "of the choices")
	flag.Parse()
	fmt.Printf("seed %d\n", *seed)
	if err := run(*triune, *changes, *seed); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(triune string, changes int, seed uint64) error {
	folder, err := os.MkdirTemp("", "triune-informer-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	server, err := daemon.New(triune, folder, compaction)
	if err != nil {
		return err
	}
	if err := server.Start(); err != nil {
		return err
	}
	defer server.End(syscall.SIGKILL)
	client, err := server.Client()
	if err != nil {
		return err
	}

	seen := newLedger()
	stop := make(chan struct{})
	defer close(stop)
	informer, err := watch(client, seen, stop)
	if err != nil {
		return err
	}

	first, err := client.CoreV1().ConfigMaps(namespace).List(context.Background(), metav1.ListOptions{})
	if err != nil {
		return err
	}

	// Quarters: after each the daemon ends, politely or not, and comes back; the informer stays.
	written := newLedger()
	choices := newChoices(seed)
	for quarter, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL, syscall.SIGTERM, 0} {
		if err := write(client, written, choices, changes/4); err != nil {
			return fmt.Errorf("quarter %d: %w", quarter+1, err)
		}
		if signal == 0 {
			break
		}
		if err := server.End(signal); err != nil {
			return err
		}
		if err := server.Start(); err != nil {
			return err
		}
	}
	// Changes go on until the log behind the informer is compacted, and a little longer.
	if err := daemon.Eventually(func() error {
		if err := write(client, written, choices, writers); err != nil {
			return err
		}
		return compacted(client, first.ResourceVersion)
	}); err != nil {
		return err
	}
	if err := write(client, written, choices, 10*writers); err != nil {
		return err
	}
	if err := daemon.Eventually(func() error { return compare(written, seen) }); err != nil {
		return err
	}
	if err := daemon.Eventually(func() error { return sameState(client, informer) }); err != nil {
		return err
	}
	fmt.Printf("%d changes seen once each, in order, over %d starts of the daemon and a compaction\n", written.total(), server.Starts)
	return nil
}

// compacted tells whether the state at an old revision can no longer be had.
func compacted(client kubernetes.Interface, revision string) error {
	exact := metav1.ListOptions{ResourceVersion: revision, ResourceVersionMatch: metav1.ResourceVersionMatchExact}
	_, err := client.CoreV1().ConfigMaps(namespace).List(context.Background(), exact)
	switch {
	case err == nil:
		return fmt.Errorf("the state at revision %s is still there", revision)
	case apierrors.IsResourceExpired(err):
		return nil
	default:
		return err
	}
}

// ledger holds what happened to each object, in order: the resourceVersion of a state, or "deleted".
type ledger struct {
	mutex   sync.Mutex
	entries map[string][]string
	err     error
}

const deleted = "deleted"

func newLedger() *ledger { return &ledger{entries: map[string][]string{}} }

func (l *ledger) add(name, what string) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	before := l.entries[name]
	if what != deleted && len(before) > 0 && before[len(before)-1] != deleted {
		if revision(what) <= revision(before[len(before)-1]) {
			l.err = fmt.Errorf("%s went from revision %s to %s", name, before[len(before)-1], what)
		}
	}
	l.entries[name] = append(before, what)
}

func (l *ledger) total() int {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	total := 0
	for _, entries := range l.entries {
		total += len(entries)
	}
	return total
}

func revision(text string) uint64 {
	number, _ := strconv.ParseUint(text, 10, 64)
	return number
}

// compare tells whether exactly what was written was seen.
func compare(written, seen *ledger) error {
	seen.mutex.Lock()
	defer seen.mutex.Unlock()
	if seen.err != nil {
		return seen.err
	}
	for name, expected := range written.entries {
		found := seen.entries[name]
		for index := range min(len(expected), len(found)) {
			if expected[index] != found[index] {
				return fmt.Errorf("%s: change %d was %s, the informer saw %s", name, index, expected[index], found[index])
			}
		}
		if len(expected) != len(found) {
			return fmt.Errorf("%s: %d changes were made, the informer saw %d", name, len(expected), len(found))
		}
	}
	return nil
}

func watch(client kubernetes.Interface, seen *ledger, stop chan struct{}) (cache.SharedIndexInformer, error) {
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(namespace),
		informers.WithTweakListOptions(func(options *metav1.ListOptions) { options.LabelSelector = "test=informer" }))
	informer := factory.Core().V1().ConfigMaps().Informer()
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { seen.see(object) },
		UpdateFunc: func(_, object any) { seen.see(object) },
		DeleteFunc: func(object any) {
			if gone, unknown := object.(cache.DeletedFinalStateUnknown); unknown {
				seen.fail(fmt.Errorf("the deletion of %s was not seen, only its absence", gone.Key))
				return
			}
			seen.add(object.(*corev1.ConfigMap).Name, deleted)
		},
	})
	if err != nil {
		return nil, err
	}
	factory.Start(stop)
	if !cache.WaitForCacheSync(stop, informer.HasSynced) {
		return nil, errors.New("the informer has not synced")
	}
	return informer, nil
}

func (l *ledger) see(object any) {
	configMap := object.(*corev1.ConfigMap)
	l.add(configMap.Name, configMap.ResourceVersion)
}

func (l *ledger) fail(err error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.err = err
}

// choices are one generator for each writer, and what each knows of its objects.
type choices struct {
	random  []*rand.Rand
	objects []map[string]*corev1.ConfigMap
}

func newChoices(seed uint64) *choices {
	c := &choices{}
	for writer := range writers {
		c.random = append(c.random, rand.New(rand.NewPCG(seed, uint64(writer))))
		c.objects = append(c.objects, map[string]*corev1.ConfigMap{})
	}
	return c
}

// write makes the changes: creates, updates and deletes.
func write(client kubernetes.Interface, written *ledger, choices *choices, changes int) error {
	failures := make(chan error, writers)
	for writer := range writers {
		go func() {
			for range changes / writers {
				if err := change(client, written, choices.random[writer], choices.objects[writer], writer); err != nil {
					failures <- err
					return
				}
			}
			failures <- nil
		}()
	}
	var all error
	for range writers {
		all = errors.Join(all, <-failures)
	}
	return all
}

func change(client kubernetes.Interface, written *ledger, random *rand.Rand, objects map[string]*corev1.ConfigMap, writer int) error {
	ctx, cancel := context.WithTimeout(context.Background(), daemon.Patience)
	defer cancel()
	configMaps := client.CoreV1().ConfigMaps(namespace)
	name := fmt.Sprintf("informer-%d-%d", writer, random.IntN(names))
	object := objects[name]
	switch {
	case object == nil:
		object = &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"test": "informer"}},
			Data:       map[string]string{"number": strconv.Itoa(random.Int())},
		}
		created, err := configMaps.Create(ctx, object, metav1.CreateOptions{})
		if err != nil {
			return err
		}
		objects[name] = created
		written.add(name, created.ResourceVersion)
	case random.IntN(5) == 0:
		if err := configMaps.Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
			return err
		}
		delete(objects, name)
		written.add(name, deleted)
	default:
		object = object.DeepCopy()
		object.Data["number"] = strconv.Itoa(random.Int())
		updated, err := configMaps.Update(ctx, object, metav1.UpdateOptions{})
		if err != nil {
			return err
		}
		objects[name] = updated
		written.add(name, updated.ResourceVersion)
	}
	return nil
}

// sameState tells whether the informer's store is what the server lists.
func sameState(client kubernetes.Interface, informer cache.SharedIndexInformer) error {
	list, err := client.CoreV1().ConfigMaps(namespace).List(context.Background(), metav1.ListOptions{LabelSelector: "test=informer"})
	if err != nil {
		return err
	}
	if len(list.Items) != len(informer.GetStore().List()) {
		return fmt.Errorf("the server has %d objects, the informer %d", len(list.Items), len(informer.GetStore().List()))
	}
	for _, item := range list.Items {
		found, there, _ := informer.GetStore().GetByKey(item.Namespace + "/" + item.Name)
		if !there || found.(*corev1.ConfigMap).ResourceVersion != item.ResourceVersion {
			return fmt.Errorf("the informer's %s is not the server's", item.Name)
		}
	}
	return nil
}
