// Package localaws runs a local AWS: moto's server behind a gateway that adds
// what moto lacks. Lambda functions run from their deployed package through the
// Lambda Runtime API, a change of an alarm's state is delivered through the
// deployed rule and target, and tests can break calls or ask which role made
// which call on what.
//
// It serves demonstrations and tests, on loopback addresses only. It checks no
// signatures, and no permissions but those of [AWS.NewPrincipal]; [AWS.Calls] has
// what a test needs to compare the others with the deployed policies.
package localaws

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
)

// AccountID is the account that everything belongs to.
const AccountID = "123456789012"

// outsideKey is the access key of callers that are no role of the account.
const outsideKey = "AKIAFIRSTLINEOUTSIDE"

// outsideSecret goes with it. Nothing checks it.
const outsideSecret = "local"

// Options say how a local AWS runs.
type Options struct {
	// Dir is the scratch folder: unpacked functions, moto's output. It must
	// exist, allow programs to be executed and serve one local AWS at a time.
	// Empty means a temporary folder that Close removes; otherwise Close leaves
	// only moto.log in it.
	Dir string
	// Log receives progress and moto's complaints; nil discards them.
	Log io.Writer
	// Moto is the path of a moto_server that fits, as package toolchain finds
	// or installs one. It is required.
	Moto string
	// Pace divides the time that state machines wait, in Wait states and before
	// they try a task again: 10 is ten times as fast. 0 is 1. Everything else takes
	// its time.
	Pace float64
}

// AWS is a running local AWS. Its methods may be called concurrently.
type AWS struct {
	opts     Options
	dir      string
	port     int
	endpoint string
	log      *lineWriter

	//nolint:containedctx // the life of the servers and processes, not of a call
	ctx    context.Context
	cancel context.CancelFunc
	// listeners are bound before server serves them.
	listeners []net.Listener
	server    *http.Server
	spawn     *spawner
	// moto answers for every service but Step Functions: that is engine, in a
	// process of its own, since a Python at work on many executions lets a call
	// that a guard waits for wait for seconds.
	moto, engine *moto
	// work is the calls being answered and what they left to be done later.
	work sync.WaitGroup

	closeOnce sync.Once
	closeErr  error

	faults    faults
	functions functions
	alarms    regionLocks
	starts    regionLocks
	deletions deletions
	tables    tables

	mu        sync.Mutex
	closing   bool
	roles     map[string]string   // access key to role, principal or service
	policies  map[string][]Policy // of principals, by ARN
	calls     []Call
	groups    atomic.Int64      // security groups made
	addresses map[string]string // public, by instance
	consoles  map[string]string
	onReboot  []func(region, instanceID string)
	reboots   []Reboot
	published map[string][]Notification // by topic
}

// Start starts a local AWS, which is ready when Start returns. It ends with
// Close or with ctx.
func Start(ctx context.Context, o Options) (_ *AWS, err error) {
	if o.Moto == "" {
		return nil, errors.New("local AWS: the path of moto_server is missing")
	}
	if o.Pace < 0 {
		return nil, fmt.Errorf("local AWS: the pace is %g: want a number above 0, or 0 for real time", o.Pace)
	}
	if o.Log == nil {
		o.Log = io.Discard
	}
	dir := o.Dir
	if dir == "" {
		if dir, err = os.MkdirTemp("", "localaws-"); err != nil {
			return nil, fmt.Errorf("local AWS: %w", err)
		}
	} else if dir, err = filepath.Abs(dir); err != nil {
		return nil, fmt.Errorf("local AWS: %w", err)
	}
	a := &AWS{
		opts:      o,
		dir:       dir,
		log:       &lineWriter{w: o.Log},
		roles:     map[string]string{},
		policies:  map[string][]Policy{},
		addresses: map[string]string{},
		consoles:  map[string]string{},
		published: map[string][]Notification{},
	}
	a.ctx, a.cancel = context.WithCancel(ctx)
	a.spawn = newSpawner()
	a.functions.init(a)
	defer func() {
		if err != nil {
			err = errors.Join(err, a.Close())
		}
	}()

	if a.listeners, err = listenLoopback(a.ctx); err != nil {
		return nil, fmt.Errorf("local AWS: %w", err)
	}
	a.port = a.listeners[0].Addr().(*net.TCPAddr).Port
	a.endpoint = "http://" + a.listeners[0].Addr().String()
	if err := a.writeProfile(); err != nil {
		return nil, fmt.Errorf("local AWS: %w", err)
	}
	if err := a.startMotos(o.Moto); err != nil {
		return nil, err
	}
	a.server = &http.Server{
		Handler:           a,
		ReadHeaderTimeout: time.Minute,
		BaseContext:       func(net.Listener) context.Context { return a.ctx },
		ErrorLog:          nil,
	}
	for _, l := range a.listeners {
		go func() { _ = a.server.Serve(l) }()
	}
	context.AfterFunc(ctx, func() { _ = a.Close() })
	a.log.printf("local AWS ready at %s", a.endpoint)
	return a, nil
}

// Close ends moto and every function's process, closes the ports and removes
// the files. It waits until that is done, also when somebody else closes.
func (a *AWS) Close() error {
	a.closeOnce.Do(func() {
		a.mu.Lock()
		a.closing = true
		a.mu.Unlock()
		a.cancel()
		var errs []error
		if a.server != nil {
			errs = append(errs, a.server.Close())
		}
		for _, l := range a.listeners {
			_ = l.Close() // the server may have closed it
		}
		a.functions.close()
		for _, m := range []*moto{a.moto, a.engine} {
			if m != nil {
				m.stop()
			}
		}
		// Whoever is still at work would write into the folder.
		a.work.Wait()
		a.spawn.close()
		if a.opts.Dir == "" {
			errs = append(errs, os.RemoveAll(a.dir))
		} else {
			for _, name := range []string{"code", "start", "aws-config", "aws-credentials"} {
				errs = append(errs, os.RemoveAll(filepath.Join(a.dir, name)))
			}
		}
		if err := errors.Join(errs...); err != nil {
			a.closeErr = fmt.Errorf("close the local AWS: %w", err)
		}
	})
	return a.closeErr
}

// begin counts one more piece of work, which ends with a.work.Done, unless the
// local AWS is being closed.
func (a *AWS) begin() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closing {
		return false
	}
	a.work.Add(1)
	return true
}

// background does something that nobody waits for but Close.
func (a *AWS) background(do func()) {
	if !a.begin() {
		return
	}
	go func() {
		defer a.work.Done()
		do()
	}()
}

// Endpoint is the address of the local AWS, as in http://127.0.0.1:4566.
func (a *AWS) Endpoint() string { return a.endpoint }

// Variables is what has to be in the environment of a program that is to use
// this local AWS instead of the real one. It also neutralises a profile and
// whatever else of the kind the program may inherit.
func (a *AWS) Variables() map[string]string {
	return map[string]string{
		"AWS_ENDPOINT_URL":                    a.endpoint,
		"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "false",
		"AWS_ACCESS_KEY_ID":                   outsideKey,
		"AWS_SECRET_ACCESS_KEY":               outsideSecret,
		"AWS_SESSION_TOKEN":                   "",
		"AWS_REGION":                          "us-east-1",
		"AWS_DEFAULT_REGION":                  "us-east-1",
		"AWS_PROFILE":                         "default",
		"AWS_DEFAULT_PROFILE":                 "default",
		"AWS_CONFIG_FILE":                     filepath.Join(a.dir, "aws-config"),
		"AWS_SHARED_CREDENTIALS_FILE":         filepath.Join(a.dir, "aws-credentials"),
		"AWS_CA_BUNDLE":                       "",
		"AWS_EC2_METADATA_DISABLED":           "true",
		"AWS_PAGER":                           "",
	}
}

// Environ is a whole environment for exec.Cmd.Env: the one of this process
// without anything of AWS, and [AWS.Variables].
func (a *AWS) Environ() []string {
	variables := a.Variables()
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "AWS_") || strings.HasPrefix(v, "NO_PROXY=") || strings.HasPrefix(v, "no_proxy=")
	})
	// terraform init may need a proxy; the local AWS must not go through it.
	direct := "127.0.0.1,::1,localhost"
	for _, name := range []string{"NO_PROXY", "no_proxy"} {
		if v := os.Getenv(name); v != "" {
			direct = v + "," + direct
			break
		}
	}
	variables["NO_PROXY"], variables["no_proxy"] = direct, direct
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		env = append(env, name+"="+variables[name])
	}
	return env
}

// Config is the configuration of SDK clients that use this local AWS.
func (a *AWS) Config(region string) aws.Config {
	return aws.Config{
		Region:       region,
		BaseEndpoint: aws.String(a.endpoint),
		Credentials:  credentials.NewStaticCredentialsProvider(outsideKey, outsideSecret, ""),
	}
}

// writeProfile writes the files that stand in for those of the user's home.
func (a *AWS) writeProfile() error {
	return errors.Join(
		os.WriteFile(filepath.Join(a.dir, "aws-config"), []byte("[default]\nregion = us-east-1\n"), 0o600),
		os.WriteFile(filepath.Join(a.dir, "aws-credentials"),
			[]byte("[default]\naws_access_key_id = "+outsideKey+"\naws_secret_access_key = "+outsideSecret+"\n"), 0o600),
	)
}

// listenLoopback listens on one port of 127.0.0.1 and, where there is IPv6, of
// ::1: moto's engine calls "localhost".
func listenLoopback(ctx context.Context) ([]net.Listener, error) {
	var lc net.ListenConfig
	var last error
	for range 10 {
		v4, err := lc.Listen(ctx, "tcp4", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		if probe, err := lc.Listen(ctx, "tcp6", "[::1]:0"); err != nil {
			return []net.Listener{v4}, nil
		} else if err := probe.Close(); err != nil {
			return nil, errors.Join(err, v4.Close())
		}
		port := v4.Addr().(*net.TCPAddr).Port
		v6, err := lc.Listen(ctx, "tcp6", net.JoinHostPort("::1", strconv.Itoa(port)))
		if err == nil {
			return []net.Listener{v4, v6}, nil
		}
		last = errors.Join(err, v4.Close())
	}
	return nil, last
}

// regionLocks let one thing of a kind happen at a time in a region.
type regionLocks struct {
	mu      sync.Mutex
	regions map[string]*sync.Mutex
}

func (l *regionLocks) lock(region string) (unlock func()) {
	l.mu.Lock()
	if l.regions == nil {
		l.regions = map[string]*sync.Mutex{}
	}
	if l.regions[region] == nil {
		l.regions[region] = &sync.Mutex{}
	}
	m := l.regions[region]
	l.mu.Unlock()
	m.Lock()
	return m.Unlock
}

// lineWriter writes whole lines, also for concurrent writers.
type lineWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lineWriter) printf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = fmt.Fprintf(l.w, strings.TrimSuffix(format, "\n")+"\n", args...)
}
