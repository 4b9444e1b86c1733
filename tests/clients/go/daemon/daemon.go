// Package daemon starts and ends the daemon for tests of its clients.
package daemon

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Patience is how long a test waits for what must come.
const Patience = 90 * time.Second

// Daemon is a daemon on one port and one folder over all of its starts.
type Daemon struct {
	// Starts counts them.
	Starts int

	triune, folder string
	flags          []string
	port           int
	process        *exec.Cmd
}

// New is a daemon that was not started yet. Flags come after those that say where it is.
func New(triune, folder string, flags ...string) (*Daemon, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	return &Daemon{triune: triune, folder: folder, flags: flags, port: listener.Addr().(*net.TCPAddr).Port}, nil
}

// Start returns when the daemon is ready.
func (d *Daemon) Start() error {
	arguments := []string{"serve", "--data-dir", d.folder, "--secure-port", strconv.Itoa(d.port), "--die-with-parent"}
	d.process = exec.Command(d.triune, append(arguments, d.flags...)...)
	d.process.Stderr = os.Stderr
	if err := d.process.Start(); err != nil {
		return err
	}
	d.Starts++
	return Eventually(func() error {
		client, err := d.Client()
		if err != nil {
			return err
		}
		_, err = client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(context.Background())
		return err
	})
}

// End sends a signal and waits for the end. Asked politely, the daemon must end without an error.
func (d *Daemon) End(signal syscall.Signal) error {
	if err := d.process.Process.Signal(signal); err != nil {
		return err
	}
	err := d.process.Wait()
	if signal == syscall.SIGTERM && err != nil {
		return fmt.Errorf("asked to end, the daemon said: %w", err)
	}
	return nil
}

// Config is that of its administrator, without a limit of requests.
func (d *Daemon) Config() (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", filepath.Join(d.folder, "admin.kubeconfig"))
	if err != nil {
		return nil, err
	}
	config.QPS, config.Burst = 10_000, 10_000
	return config, nil
}

// Client is a client of its administrator.
func (d *Daemon) Client() (*kubernetes.Clientset, error) {
	config, err := d.Config()
	if err != nil {
		return nil, err
	}
	return kubernetes.NewForConfig(config)
}

// Eventually checks until there is no error, at most for as long as Patience.
func Eventually(check func() error) error {
	deadline := time.Now().Add(Patience)
	for {
		err := check()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
}
