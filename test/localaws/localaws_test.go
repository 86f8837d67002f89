package localaws

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	cwtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	ebtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	route53types "github.com/aws/aws-sdk-go-v2/service/route53/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	sfntypes "github.com/aws/aws-sdk-go-v2/service/sfn/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/google/go-cmp/cmp"

	"firstline/internal/toolchain"
)

const region = "eu-west-1"

// bench is what the tests share: one local AWS, and the function's package.
var bench struct {
	aws  *AWS
	zip  []byte
	moto string
	once sync.Once
	err  error
	log  syncBuffer
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func TestMain(m *testing.M) {
	if dir := os.Getenv("LOCALAWS_TEST_CHILD"); dir != "" {
		child(dir)
		return
	}
	root, err := toolchain.Root()
	if err == nil {
		bench.moto, err = toolchain.Toolchain{Build: filepath.Join(root, "build"), Log: os.Stderr}.Moto(context.Background())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if bench.aws != nil {
		if err := bench.aws.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	if code != 0 {
		fmt.Fprintf(os.Stderr, "the local AWS said:\n%s", bench.log.String())
	}
	os.Exit(code)
}

func shared(t *testing.T) *AWS {
	t.Helper()
	bench.once.Do(func() {
		if bench.zip, bench.err = buildPackage(); bench.err != nil {
			return
		}
		bench.aws, bench.err = Start(context.Background(), Options{Log: &bench.log, Moto: bench.moto})
	})
	if bench.err != nil {
		t.Fatal(bench.err)
	}
	return bench.aws
}

// buildPackage builds testdata/bootstrap into a package for this machine.
func buildPackage() (_ []byte, err error) {
	dir, err := os.MkdirTemp("", "bootstrap-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	program := filepath.Join(dir, "bootstrap")
	//nolint:gosec // our own test program
	build := exec.CommandContext(context.Background(), "go", "build", "-tags", "lambda.norpc", "-o", program, "./testdata/bootstrap")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	body, err := os.ReadFile(program) //nolint:gosec // just built
	if err != nil {
		return nil, err
	}
	return zipOf(body, 0o755)
}

func zipOf(bootstrap []byte, mode os.FileMode) ([]byte, error) {
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	header := &zip.FileHeader{Name: "bootstrap", Method: zip.Deflate}
	header.SetMode(mode)
	w, err := z.CreateHeader(header)
	if err == nil {
		_, err = w.Write(bootstrap)
	}
	err = errors.Join(err, z.Close())
	return out.Bytes(), err
}

var names atomic.Int64

// unique makes a new name from the test's.
func unique(t *testing.T) string {
	name := fmt.Sprintf("%s-%d", strings.ToLower(t.Name()), names.Add(1))
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, name)
}

func makeRole(t *testing.T, a *AWS, name string) string {
	t.Helper()
	out, err := iam.NewFromConfig(a.Config(region)).CreateRole(t.Context(), &iam.CreateRoleInput{
		RoleName: &name, AssumeRolePolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[]}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	return *out.Role.Arn
}

func thisArchitecture() lambdatypes.Architecture {
	return lambdatypes.Architecture(lambdaName(runtime.GOARCH))
}

// makeFunction deploys the test function through S3, as Terraform does.
func makeFunction(t *testing.T, a *AWS, change func(*lambda.CreateFunctionInput)) (client *lambda.Client, name, role string) {
	t.Helper()
	name = unique(t)
	role = makeRole(t, a, name)
	store := s3.NewFromConfig(a.Config(region))
	_, err := store.CreateBucket(t.Context(), &s3.CreateBucketInput{
		Bucket: &name, CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: region},
	})
	if err != nil {
		t.Fatal(err)
	}
	in := &lambda.CreateFunctionInput{
		FunctionName: &name, Role: &role, Runtime: lambdatypes.RuntimeProvidedal2023, Handler: aws.String("bootstrap"),
		Architectures: []lambdatypes.Architecture{thisArchitecture()},
		MemorySize:    aws.Int32(256), Timeout: aws.Int32(20), Publish: true,
		Environment: &lambdatypes.Environment{Variables: map[string]string{"COLOR": "red"}},
	}
	body := bench.zip
	if change != nil {
		change(in)
	}
	if in.Code != nil {
		body, in.Code = in.Code.ZipFile, nil
	}
	if _, err := store.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &name, Key: aws.String("function code.zip"), Body: bytes.NewReader(body)}); err != nil {
		t.Fatal(err)
	}
	in.Code = &lambdatypes.FunctionCode{S3Bucket: &name, S3Key: aws.String("function code.zip")}
	client = lambda.NewFromConfig(a.Config(region))
	if _, err := client.CreateFunction(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	return client, name, role
}

// reply is what the test function, or Lambda in its place, answers.
type reply struct {
	PID         int
	Count       int
	RequestID   string
	ARN         string
	RemainingMs int64
	Env         map[string]string
	Names       []string
	Text        string

	ErrorType, ErrorMessage string
	functionError           string
	version                 string
}

func invoke(t *testing.T, client *lambda.Client, function, event string) reply {
	t.Helper()
	r, err := tryInvoke(t.Context(), client, function, event)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func tryInvoke(ctx context.Context, client *lambda.Client, function, event string) (r reply, err error) {
	out, err := client.Invoke(ctx, &lambda.InvokeInput{FunctionName: &function, Payload: []byte(event)},
		func(o *lambda.Options) { o.RetryMaxAttempts = 1 })
	if err != nil {
		return r, err
	}
	err = json.Unmarshal(out.Payload, &r)
	r.functionError, r.version = aws.ToString(out.FunctionError), aws.ToString(out.ExecutedVersion)
	return r, err
}

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }

// eventually waits for a condition.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if condition() {
			return
		}
	}
	t.Fatalf("in 20 s it did not happen: %s", what)
}

func code(err error) string {
	if e, ok := errors.AsType[smithy.APIError](err); ok {
		return e.ErrorCode()
	}
	return fmt.Sprint(err)
}

func TestCloseLeavesNothing(t *testing.T) {
	shared(t) // for the package
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	ctx, cancel := context.WithCancel(t.Context())
	a, err := Start(ctx, Options{Moto: bench.moto})
	if err != nil {
		t.Fatal(err)
	}
	client, name, _ := makeFunction(t, a, nil)
	pids := []int{a.moto.cmd.Process.Pid, a.engine.cmd.Process.Pid, invoke(t, client, name, `{}`).PID}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("%d entries in the temporary folder, want one", len(entries))
	}
	// One that is at work.
	working := make(chan struct{})
	go func() {
		defer close(working)
		_, _ = tryInvoke(t.Context(), client, name, `{"do":"sleep","ms":15000}`)
	}()
	eventually(t, "the function works", func() bool { return strings.Contains(a.Logs(name), "doing sleep") })
	// One that still writes when everything else has ended.
	a.background(func() {
		<-a.moto.exited
		if err := os.MkdirAll(filepath.Join(a.dir, "code", "late"), 0o700); err != nil {
			t.Error(err)
		}
	})
	cancel()
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	<-working
	for _, pid := range pids {
		if alive(pid) {
			t.Errorf("process %d still runs", pid)
		}
	}
	for _, address := range []string{a.endpoint, a.moto.base, a.engine.base} {
		if conn, err := net.Dial("tcp", strings.TrimPrefix(address, "http://")); err == nil { //nolint:noctx // refused at once
			t.Errorf("%s is still open", address)
			_ = conn.Close()
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("left behind: %v", entries)
	}
}

// child is a program that starts a local AWS and a function, says their
// process ids and waits to be killed.
func child(dir string) {
	a, err := Start(context.Background(), Options{Dir: dir, Moto: os.Getenv("LOCALAWS_TEST_MOTO")})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	script := exec.CommandContext(context.Background(), "sleep", "300")
	script.SysProcAttr = ownGroup()
	if err := a.spawn.start(script); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(a.moto.cmd.Process.Pid, a.engine.cmd.Process.Pid, script.Process.Pid)
	select {}
}

func TestHardDeathLeavesNoProcess(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux kills a function's process with ours")
	}
	//nolint:gosec // this test's own program
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "LOCALAWS_TEST_CHILD="+t.TempDir(), "LOCALAWS_TEST_MOTO="+bench.moto)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var moto, engine, script int
	if _, err := fmt.Fscan(out, &moto, &engine, &script); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	eventually(t, "both motos and the function are gone", func() bool { return !running(moto) && !running(engine) && !running(script) })
}

// running says whether a process exists and is no zombie.
func running(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !bytes.Contains(stat, []byte(") Z "))
}

// program writes a shell script and returns its path.
func program(t *testing.T, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	return path
}

func TestStartRefuses(t *testing.T) {
	for what, tt := range map[string]struct{ moto, want string }{
		"no path":            {"", "moto_server is missing"},
		"no program":         {filepath.Join(t.TempDir(), "moto_server"), "no such file"},
		"one that ends":      {program(t, "echo no such module >&2; exit 1"), "no such module"},
		"one beyond mending": {program(t, `sed -i.bak s/boto_client_for/gone/ "$PYTHONPATH/sitecustomize.py"; exec `+bench.moto+` "$@"`), "cannot mend moto.stepfunctions"},
	} {
		t.Run(what, func(t *testing.T) {
			a, err := Start(t.Context(), Options{Moto: tt.moto, Dir: t.TempDir()})
			if err == nil {
				_ = a.Close()
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// Between the choice of moto's port and its taking it, another program may
// take it: another port is tried, and that program is not taken for moto.
// TestStartMeetsATakenPort starts where the first port is taken, in a folder that is
// kept, without rubbish.
func TestStartMeetsATakenPort(t *testing.T) {
	first, dir := filepath.Join(t.TempDir(), "first"), t.TempDir()
	path := program(t, `if mkdir `+first+` 2>/dev/null; then echo "Address already in use" >&2; exit 1; fi; exec `+bench.moto+` "$@"`)
	a, err := Start(t.Context(), Options{Dir: dir, Moto: path})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	entries, _ := os.ReadDir(dir)
	if len(entries) != 1 || entries[0].Name() != "moto.log" {
		t.Errorf("left behind: %v, want moto.log only", entries)
	}
}

func TestWhatMotoSaysIsPassedOn(t *testing.T) {
	var log bytes.Buffer
	m := &moto{aws: &AWS{log: &lineWriter{w: &log}}, serving: make(chan struct{}), mended: make(chan error, mends)}
	m.follow(strings.NewReader(strings.Join([]string{
		" * Running on http://127.0.0.1:5000",
		"Press CTRL+C to quit",
		"firstline: mended moto.iam.access_control",
		`127.0.0.1 - - [22/Nov/2026 10:00:00] "POST / HTTP/1.1" 200 -`,
		"Exception=KeyError, Details=['x'] at 'StateTask(x)'",
	}, "\n")))
	if got, want := log.String(), "moto: Exception=KeyError, Details=['x'] at 'StateTask(x)'\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	select {
	case <-m.serving:
	default:
		t.Error("it was not seen to listen")
	}
	if err := <-m.mended; err != nil {
		t.Error(err)
	}
}

func TestGroup(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only on Linux a process is waited for in two steps")
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", "sleep 300 >/dev/null 2>&1 & echo $!")
	cmd.SysProcAttr = ownGroup()
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	g := &group{cmd: cmd}
	if err := g.wait(); err != nil {
		t.Fatal(err)
	}
	var left int
	if _, err := fmt.Fscan(&out, &left); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the child that was left behind is gone", func() bool { return !running(left) })
	if err := g.kill(); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("a group that is gone was killed: %v", err)
	}
}

// A process whose idle time is over is about to be killed: it is not used.
func TestReaperThatHasFired(t *testing.T) {
	a := shared(t)
	client, name, _ := makeFunction(t, a, nil)
	pid := invoke(t, client, name, `{}`).PID
	fs := &a.functions
	fs.mu.Lock()
	for _, po := range fs.pools {
		for _, p := range po.idle {
			if p.cmd.Process.Pid == pid {
				// It fires, and then waits for the lock. Stop tells whether it has.
				for fired := false; !fired; fired = !p.reaper.Stop() {
					p.reaper.Reset(0)
					time.Sleep(time.Millisecond)
				}
			}
		}
	}
	fs.mu.Unlock()
	for range 3 {
		if r := invoke(t, client, name, `{}`); r.functionError != "" {
			t.Fatalf("got %+v", r)
		}
	}
	eventually(t, "the old process is gone", func() bool { return !alive(pid) })
}

func TestInvoke(t *testing.T) {
	a := shared(t)
	client, name, role := makeFunction(t, a, nil)

	first := invoke(t, client, name, `{"do":"env"}`)
	if first.version != "$LATEST" || !strings.HasSuffix(first.ARN, ":function:"+name) || first.RequestID == "" {
		t.Errorf("got %+v", first)
	}
	if first.RemainingMs < 15000 || first.RemainingMs > 20000 {
		t.Errorf("%d ms remain of 20 s", first.RemainingMs)
	}
	for variable, want := range map[string]string{
		"COLOR": "red", "AWS_LAMBDA_FUNCTION_NAME": name, "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256", "AWS_REGION": region, "AWS_ENDPOINT_URL": a.Endpoint(),
		"AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/" + name, "AWS_ACCESS_KEY_ID": a.keyOf(role), "TZ": ":UTC",
	} {
		if first.Env[variable] != want {
			t.Errorf("%s is %q, want %q", variable, first.Env[variable], want)
		}
	}
	if slices.Contains(first.Names, "HOME") || slices.Contains(first.Names, "USER") {
		t.Errorf("the host's environment leaks: %v", first.Names)
	}
	// Reused while warm, also by another of its names.
	arn := "arn:aws:lambda:" + region + ":" + AccountID + ":function:" + name
	for _, alias := range []string{name, arn, arn + ":$LATEST", AccountID + ":function:" + name} {
		if again := invoke(t, client, alias, `{}`); again.PID != first.PID {
			t.Errorf("%s started process %d, and %d was warm", alias, again.PID, first.PID)
		}
	}

	t.Run("errors", func(t *testing.T) {
		got := invoke(t, client, name, `{"do":"named error"}`)
		if got.functionError != "Unhandled" || got.ErrorType != "Denied" || got.ErrorMessage != "not allowed" {
			t.Errorf("got %+v", got)
		}
		got = invoke(t, client, name, `{"do":"error"}`)
		if got.functionError != "Unhandled" || got.ErrorType != "errorString" || got.ErrorMessage != "no such luck" {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("crash", func(t *testing.T) {
		got := invoke(t, client, name, `{"do":"exit"}`)
		if got.functionError != "Unhandled" || got.ErrorType != "Runtime.ExitError" ||
			!strings.HasSuffix(got.ErrorMessage, " Error: Runtime exited with error: exit status 7") {
			t.Errorf("got %+v", got)
		}
		if again := invoke(t, client, name, `{}`); again.Count != 1 || again.functionError != "" {
			t.Errorf("after a crash: %+v", again)
		}
	})
	t.Run("killed while idle", func(t *testing.T) {
		pid := invoke(t, client, name, `{}`).PID
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		// An event that the dying process takes is lost with it, as on AWS.
		eventually(t, "the process is gone", func() bool { return !alive(pid) })
		eventually(t, "the next one works", func() bool {
			again := invoke(t, client, name, `{}`)
			return again.Count == 1 && again.functionError == ""
		})
	})
	t.Run("logs", func(t *testing.T) {
		for _, of := range []string{name, arn} {
			logs := a.Logs(of)
			for _, want := range []string{"doing env\n", "START RequestId: " + first.RequestID, "REPORT RequestId: " + first.RequestID, "Memory Size: 256 MB"} {
				if !strings.Contains(logs, want) {
					t.Errorf("the logs of %s lack %q:\n%s", of, want, logs)
				}
			}
		}
		if logs := a.Logs("other"); logs != "" {
			t.Errorf("got %q", logs)
		}
	})
	t.Run("unknown", func(t *testing.T) {
		for _, f := range []string{"nobody", name + ":77"} {
			if _, err := tryInvoke(t.Context(), client, f, `{}`); code(err) != "ResourceNotFoundException" {
				t.Errorf("%s: got %v", f, err)
			}
		}
	})
	t.Run("event", func(t *testing.T) {
		out, err := client.Invoke(t.Context(), &lambda.InvokeInput{
			FunctionName: &name, InvocationType: lambdatypes.InvocationTypeEvent, Payload: []byte(`{"do":"asynchronous"}`),
		})
		if err != nil || out.StatusCode != 202 {
			t.Fatalf("got %+v, %v", out, err)
		}
		eventually(t, "it ran", func() bool { return strings.Contains(a.Logs(name), "doing asynchronous") })
	})
	t.Run("calls", func(t *testing.T) {
		id := invoke(t, client, name, `{"do":"call","service":"ssm","target":"AmazonSSM.GetParameter","body":"{\"Name\":\"/`+name+`/x\"}"}`)
		if !strings.HasPrefix(id.Text, "400 ") || !strings.Contains(id.Text, "ParameterNotFound") {
			t.Errorf("got %q", id.Text)
		}
		var got *Call
		for _, c := range a.Calls() {
			if c.Role == role && c.Service == "ssm" {
				got = &c
			}
		}
		if got == nil {
			t.Fatal("the function's call is not recorded")
		}
		want := Call{
			Time: got.Time, Role: role, Service: "ssm", Action: "GetParameter", Region: region, Status: 400,
			Resources: []string{"arn:aws:ssm:" + region + ":" + AccountID + ":parameter/" + name + "/x"},
		}
		if diff := cmp.Diff(want, *got); diff != "" {
			t.Error(diff)
		}
	})
}

// A function of one region invokes another region's, which has its own name, process
// and rights.
func TestInvokeInAnotherRegion(t *testing.T) {
	a := shared(t)
	here, name, role := makeFunction(t, a, nil)
	const peer = "eu-central-1"
	other := name + "-probe"
	arn := "arn:aws:lambda:" + peer + ":" + AccountID + ":function:" + other
	there := lambda.NewFromConfig(a.Config(peer))
	for _, f := range []string{name, other} {
		_, err := there.CreateFunction(t.Context(), &lambda.CreateFunctionInput{
			FunctionName: &f, Role: &role, Runtime: lambdatypes.RuntimeProvidedal2023, Handler: aws.String("bootstrap"),
			Architectures: []lambdatypes.Architecture{thisArchitecture()}, MemorySize: aws.Int32(256), Timeout: aws.Int32(20),
			Code: &lambdatypes.FunctionCode{ZipFile: bench.zip},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	pids := map[int]bool{invoke(t, here, name, `{}`).PID: true, invoke(t, there, name, `{}`).PID: true}
	as := func(key string) *lambda.Client {
		config := a.Config(peer)
		config.Credentials = credentials.NewStaticCredentialsProvider(key, "any", "")
		return lambda.NewFromConfig(config)
	}
	got := invoke(t, as(a.keyOf(role)), other, `{"do":"env"}`)
	if pids[got.PID] = true; len(pids) != 3 || got.ARN != arn || got.Env["AWS_REGION"] != peer || got.Env["AWS_LAMBDA_FUNCTION_NAME"] != other {
		t.Errorf("got %+v, processes %v", got, pids)
	}
	calls := slices.DeleteFunc(a.Calls(), func(c Call) bool { return c.Role != role || c.Action != "InvokeFunction" })
	if len(calls) != 1 || calls[0].Region != peer || !slices.Equal(calls[0].Resources, []string{arn}) {
		t.Errorf("its calls: %+v", calls)
	}
	p, err := ParsePolicy([]byte(`{"Statement": [{"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": "` + arn + `"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	allowed := as(a.NewPrincipal(unique(t), p))
	invoke(t, allowed, other, `{}`)
	for _, f := range []string{name, other + ":$LATEST"} {
		if _, err := tryInvoke(t.Context(), allowed, f, `{}`); code(err) != "AccessDeniedException" {
			t.Errorf("%s: got %v", f, err)
		}
	}
}

func TestInvokeConcurrently(t *testing.T) {
	a := shared(t)
	client, name, _ := makeFunction(t, a, nil)
	const n = 12
	var wg sync.WaitGroup
	var mu sync.Mutex
	pids := map[int]bool{}
	for range n {
		wg.Go(func() {
			r, err := tryInvoke(t.Context(), client, name, `{"do":"sleep","ms":1500}`)
			if err != nil || r.functionError != "" {
				t.Errorf("got %+v, %v", r, err)
			}
			mu.Lock()
			defer mu.Unlock()
			pids[r.PID] = true
		})
	}
	wg.Wait()
	if len(pids) < 2 {
		t.Errorf("%d processes for %d invocations at once", len(pids), n)
	}
	if r := invoke(t, client, name, `{}`); !pids[r.PID] {
		t.Errorf("process %d is new, and %d were warm", r.PID, len(pids))
	}
}

func TestVersions(t *testing.T) {
	a := shared(t)
	client, name, _ := makeFunction(t, a, func(in *lambda.CreateFunctionInput) {
		in.LoggingConfig = &lambdatypes.LoggingConfig{LogFormat: lambdatypes.LogFormatJson, LogGroup: aws.String("/own/group")}
		in.TracingConfig = &lambdatypes.TracingConfig{Mode: lambdatypes.TracingModeActive}
	})
	old := invoke(t, client, name+":1", `{"do":"env"}`)
	if old.version != "1" || old.Env["COLOR"] != "red" || old.Env["AWS_LAMBDA_LOG_GROUP_NAME"] != "/own/group" {
		t.Errorf("version 1: %+v", old)
	}
	_, err := client.UpdateFunctionConfiguration(t.Context(), &lambda.UpdateFunctionConfigurationInput{
		FunctionName: &name, Environment: &lambdatypes.Environment{Variables: map[string]string{"COLOR": "blue"}},
		LoggingConfig: &lambdatypes.LoggingConfig{LogFormat: lambdatypes.LogFormatText},
	})
	if err != nil {
		t.Fatal(err)
	}
	// The next package is a script: versions run their own code.
	script, err := zipOf([]byte("#!/bin/sh\nexit 9\n"), 0o755)
	if err != nil {
		t.Fatal(err)
	}
	updated, err := client.UpdateFunctionCode(t.Context(), &lambda.UpdateFunctionCodeInput{FunctionName: &name, ZipFile: script, Publish: true})
	if err != nil {
		t.Fatal(err)
	}
	if *updated.Version != "2" {
		t.Fatalf("version %s", *updated.Version)
	}
	arn := "arn:aws:lambda:" + region + ":" + AccountID + ":function:" + name
	if r := invoke(t, client, arn+":2", `{}`); r.ErrorType != "Runtime.ExitError" || r.version != "2" {
		t.Errorf("version 2: %+v", r)
	}
	if r := invoke(t, client, arn+":1", `{"do":"env"}`); r.Env["COLOR"] != "red" || r.version != "1" {
		t.Errorf("version 1: %+v", r)
	}
	for version, want := range map[string]lambdatypes.LoggingConfig{
		"":  {LogFormat: lambdatypes.LogFormatText, LogGroup: aws.String("/aws/lambda/" + name)},
		"2": {LogFormat: lambdatypes.LogFormatText, LogGroup: aws.String("/aws/lambda/" + name)},
		"1": {LogFormat: lambdatypes.LogFormatJson, LogGroup: aws.String("/own/group"), ApplicationLogLevel: "INFO", SystemLogLevel: "INFO"},
	} {
		in := &lambda.GetFunctionInput{FunctionName: &name}
		if version != "" {
			in.Qualifier = &version
		}
		out, err := client.GetFunction(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		if got := out.Configuration.LoggingConfig; got == nil || got.LogFormat != want.LogFormat || aws.ToString(got.LogGroup) != *want.LogGroup || got.ApplicationLogLevel != want.ApplicationLogLevel {
			t.Errorf("version %q: %+v, want %+v", version, got, want)
		}
		if out.Configuration.TracingConfig.Mode != lambdatypes.TracingModeActive {
			t.Errorf("version %q: tracing is %s", version, out.Configuration.TracingConfig.Mode)
		}
	}
}

func TestLimits(t *testing.T) {
	a := shared(t)
	client, name, _ := makeFunction(t, a, func(in *lambda.CreateFunctionInput) { in.Timeout = aws.Int32(2) })
	pid := invoke(t, client, name, `{}`).PID
	got := invoke(t, client, name, `{"do":"sleep","ms":60000}`)
	if got.functionError != "Unhandled" || got.ErrorType != "Sandbox.Timedout" || !strings.HasSuffix(got.ErrorMessage, " Error: Task timed out after 2.00 seconds") {
		t.Errorf("got %+v", got)
	}
	if alive(pid) {
		t.Error("the process outlived the time-out")
	}
	if runtime.GOOS != "linux" {
		return
	}
	client, name, _ = makeFunction(t, a, func(in *lambda.CreateFunctionInput) { in.MemorySize = aws.Int32(128) })
	got = invoke(t, client, name, `{"do":"eat"}`)
	if got.functionError != "Unhandled" || got.ErrorType != "Runtime.ExitError" || !strings.HasSuffix(got.ErrorMessage, "signal: killed") {
		t.Errorf("got %+v", got)
	}
}

func TestBrokenPackages(t *testing.T) {
	a := shared(t)
	other := map[string]string{"amd64": "arm64", "arm64": "amd64"}[runtime.GOARCH]
	foreign := bytes.Clone(func() []byte {
		z, err := zip.NewReader(bytes.NewReader(bench.zip), int64(len(bench.zip)))
		if err != nil {
			t.Fatal(err)
		}
		f, err := z.File[0].Open()
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(f)
		if err != nil {
			t.Fatal(err)
		}
		return body
	}())
	// The machine's number in the header of an ELF file.
	copy(foreign[18:], map[string][]byte{"amd64": {62, 0}, "arm64": {183, 0}}[other])
	for what, test := range map[string]struct {
		body         []byte
		mode         os.FileMode
		architecture lambdatypes.Architecture
		kind, text   string
		environment  string
	}{
		"another machine":    {foreign, 0o755, lambdatypes.Architecture(lambdaName(other)), errEntrypoint, "this machine is " + lambdaName(runtime.GOARCH), ""},
		"not as configured":  {foreign, 0o755, thisArchitecture(), errEntrypoint, "exec format error", ""},
		"not executable":     {[]byte("#!/bin/sh\n"), 0o644, thisArchitecture(), errEntrypoint, "permission denied", ""},
		"exits at the start": {[]byte("#!/bin/sh\nexit 3\n"), 0o755, thisArchitecture(), errExited, "exit status 3", ""},
		"ends well":          {[]byte("#!/bin/sh\n"), 0o755, thisArchitecture(), errExited, "without providing a reason", ""},
	} {
		t.Run(what, func(t *testing.T) {
			client, name, _ := makeFunction(t, a, func(in *lambda.CreateFunctionInput) {
				body, err := zipOf(test.body, test.mode)
				if err != nil {
					t.Fatal(err)
				}
				in.Code = &lambdatypes.FunctionCode{ZipFile: body}
				in.Architectures = []lambdatypes.Architecture{test.architecture}
			})
			got := invoke(t, client, name, `{}`)
			if got.functionError != "Unhandled" || got.ErrorType != test.kind || !strings.Contains(got.ErrorMessage, test.text) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestFaults(t *testing.T) {
	a := shared(t)
	client, name, _ := makeFunction(t, a, nil)
	params := ssm.NewFromConfig(a.Config(region))
	one := func(o *ssm.Options) { o.RetryMaxAttempts = 1 }
	get := func() error {
		_, err := params.GetParameter(t.Context(), &ssm.GetParameterInput{Name: aws.String("/faults/x")}, one)
		return err
	}
	t.Run("refused", func(t *testing.T) {
		fault := a.AddFault(Fault{Service: "ssm", Action: "GetParameter", Region: region, Contains: "/faults/", Code: "AccessDeniedException", Message: "no"})
		defer fault.Remove()
		for n := range 3 {
			if hits := fault.Hits(); hits != n {
				t.Errorf("%d hits, want %d", hits, n)
			}
			if err := get(); code(err) != "AccessDeniedException" {
				t.Errorf("got %v", err)
			}
		}
		// Not elsewhere.
		_, err := ssm.NewFromConfig(a.Config("eu-west-2")).GetParameter(t.Context(), &ssm.GetParameterInput{Name: aws.String("/faults/x")}, one)
		if code(err) != "ParameterNotFound" {
			t.Errorf("got %v", err)
		}
	})
	if err := get(); code(err) != "ParameterNotFound" {
		t.Errorf("after removal: %v", err)
	}
	t.Run("protocols", func(t *testing.T) {
		for service, ask := range map[string]func(context.Context) error{
			"ec2": func(ctx context.Context) error {
				_, err := ec2.NewFromConfig(a.Config(region)).DescribeInstances(ctx, nil, func(o *ec2.Options) { o.RetryMaxAttempts = 1 })
				return err
			},
			"cloudwatch": func(ctx context.Context) error {
				_, err := cloudwatch.NewFromConfig(a.Config(region)).DescribeAlarms(ctx, nil, func(o *cloudwatch.Options) { o.RetryMaxAttempts = 1 })
				return err
			},
			"route53": func(ctx context.Context) error {
				_, err := route53.NewFromConfig(a.Config(region)).GetHealthCheckStatus(ctx, &route53.GetHealthCheckStatusInput{HealthCheckId: aws.String("x")},
					func(o *route53.Options) { o.RetryMaxAttempts = 1 })
				return err
			},
			"states": func(ctx context.Context) error {
				_, err := sfn.NewFromConfig(a.Config(region)).ListStateMachines(ctx, nil, func(o *sfn.Options) { o.RetryMaxAttempts = 1 })
				return err
			},
			"lambda": func(ctx context.Context) error {
				_, err := tryInvoke(ctx, client, name, `{}`)
				return err
			},
		} {
			fault := a.AddFault(Fault{Service: service, Status: 400, Code: "Throttling", Message: "slow <down>"})
			err := ask(t.Context())
			var e smithy.APIError
			if !errors.As(err, &e) || e.ErrorCode() != "Throttling" || e.ErrorMessage() != "slow <down>" {
				t.Errorf("%s: got %v", service, err)
			}
			fault.Remove()
		}
	})
	t.Run("held", func(t *testing.T) {
		until, answered := make(chan struct{}), make(chan error, 1)
		held := a.AddFault(Fault{Service: "ssm", Contains: "/faults/", Until: until})
		defer held.Remove()
		go func() { answered <- get() }()
		for held.Hits() == 0 {
			time.Sleep(time.Millisecond)
		}
		select {
		case err := <-answered:
			t.Errorf("it was not held: %v", err)
		default:
		}
		close(until)
		if err := <-answered; code(err) != "ParameterNotFound" {
			t.Errorf("a call that was held got %v", err)
		}
	})
}

func TestAddresses(t *testing.T) {
	a := shared(t)
	const region = "eu-central-1"
	client := ec2.NewFromConfig(a.Config(region))
	id, err := a.RunInstance(t.Context(), region)
	if err != nil {
		t.Fatal(err)
	}
	other, err := a.RunInstance(t.Context(), region)
	if err != nil {
		t.Fatal(err)
	}
	describe := func(id string) string {
		out, err := client.DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{InstanceIds: []string{id}})
		if err != nil {
			t.Fatal(err)
		}
		i := out.Reservations[0].Instances[0]
		inner := ""
		for _, n := range i.NetworkInterfaces {
			if n.Association != nil {
				inner += " " + aws.ToString(n.Association.PublicIp)
			}
			inner += " " + aws.ToString(n.PrivateIpAddress)
		}
		return fmt.Sprintf("%s %s %s |%s", i.State.Name, aws.ToString(i.PublicIpAddress), aws.ToString(i.PrivateIpAddress), inner)
	}
	before := describe(other)
	a.SetPublicAddress(id, "127.0.0.7")
	if got := describe(id); !strings.HasPrefix(got, "running 127.0.0.7 ") || !strings.Contains(got, "| 127.0.0.7 ") {
		t.Errorf("got %q", got)
	}
	if got := describe(other); got != before {
		t.Errorf("another instance: got %q, want %q", got, before)
	}
	if _, err := client.DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{InstanceIds: []string{"i-0123456789abcdef0"}}); code(err) != "InvalidInstanceID.NotFound" {
		t.Errorf("got %v", err)
	}
}

func TestReboots(t *testing.T) {
	a := shared(t)
	const region = "eu-central-1"
	client := ec2.NewFromConfig(a.Config(region))
	id, err := a.RunInstance(t.Context(), region)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var told []string
	a.OnReboot(func(region, instance string) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, region+" "+instance)
	})
	a.AddFault(Fault{Action: "RebootInstances", Contains: id, Status: 403, Code: "UnauthorizedOperation", Times: 1})
	in := &ec2.RebootInstancesInput{InstanceIds: []string{id}}
	if _, err := client.RebootInstances(t.Context(), in); code(err) != "UnauthorizedOperation" {
		t.Errorf("got %v", err)
	}
	if _, err := client.RebootInstances(t.Context(), &ec2.RebootInstancesInput{InstanceIds: []string{"i-0123456789abcdef0"}}); err == nil {
		t.Error("an unknown instance was rebooted")
	}
	dry := &ec2.RebootInstancesInput{InstanceIds: []string{id}, DryRun: aws.Bool(true)}
	_, err = client.RebootInstances(t.Context(), dry)
	if re, ok := errors.AsType[*smithyhttp.ResponseError](err); !ok || re.HTTPStatusCode() != http.StatusPreconditionFailed || code(err) != "DryRunOperation" ||
		!strings.Contains(err.Error(), "Request would have succeeded, but DryRun flag is set.") {
		t.Errorf("a dry run: got %v", err)
	}
	a.AddFault(Fault{Action: "RebootInstances", Contains: id, Status: 403, Code: "UnauthorizedOperation", Times: 1})
	if _, err := client.RebootInstances(t.Context(), dry); code(err) != "UnauthorizedOperation" {
		t.Errorf("a dry run: got %v", err)
	}
	if slices.ContainsFunc(a.Reboots(), func(r Reboot) bool { return r.InstanceID == id }) {
		t.Error("a dry run counts as a reboot")
	}
	// The right that it needs is the one of a reboot.
	if !slices.ContainsFunc(a.Calls(), func(c Call) bool {
		return c.Action == "RebootInstances" && c.Status == http.StatusPreconditionFailed &&
			slices.Equal(c.Resources, []string{"arn:aws:ec2:" + region + ":" + AccountID + ":instance/" + id})
	}) {
		t.Error("a dry run is not among the calls")
	}
	if _, err := client.RebootInstances(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	var got []Reboot
	for _, r := range a.Reboots() {
		if r.InstanceID == id {
			got = append(got, r)
		}
	}
	if len(got) != 1 || got[0].Region != region || got[0].Role != "" || got[0].Time.IsZero() {
		t.Errorf("got %+v", got)
	}
	mu.Lock()
	defer mu.Unlock()
	if want := []string{region + " " + id}; !slices.Equal(told, want) {
		t.Errorf("told %v, want %v", told, want)
	}
}

func TestHealthChecks(t *testing.T) {
	a := shared(t)
	client := route53.NewFromConfig(a.Config("us-east-1"))
	status := http.StatusOK
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" {
			t.Errorf("it asks for %s", r.URL)
		}
		w.WriteHeader(status)
	}))
	defer web.Close()
	at := web.Listener.Addr().(*net.TCPAddr)
	ids := map[route53types.HealthCheckType]string{}
	for _, kind := range []route53types.HealthCheckType{route53types.HealthCheckTypeHttp, route53types.HealthCheckTypeTcp, route53types.HealthCheckTypeHttps} {
		made, err := client.CreateHealthCheck(t.Context(), &route53.CreateHealthCheckInput{
			CallerReference: aws.String(unique(t) + string(kind)),
			HealthCheckConfig: &route53types.HealthCheckConfig{
				Type: kind, IPAddress: aws.String(at.IP.String()), Port: aws.Int32(int32(at.Port)), ResourcePath: aws.String("/healthz"), //nolint:gosec // a port
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		ids[kind] = *made.HealthCheck.Id
	}
	// ask returns what the checkers say, which is all the same.
	ask := func(id string) (said string, err error) {
		before := time.Now().UTC().Truncate(time.Millisecond)
		out, err := client.GetHealthCheckStatus(t.Context(), &route53.GetHealthCheckStatusInput{HealthCheckId: &id})
		if err != nil {
			return "", err
		}
		regions := map[route53types.HealthCheckRegion]bool{}
		for _, o := range out.HealthCheckObservations {
			regions[o.Region] = true
			if aws.ToString(o.IPAddress) == "" || o.StatusReport.CheckedTime.Before(before) || said != "" && said != *o.StatusReport.Status {
				t.Errorf("an observation: %+v", o)
			}
			said = *o.StatusReport.Status
		}
		if len(regions) != 8 {
			t.Errorf("it is checked from %v", regions)
		}
		return said, nil
	}
	wants := func(kind route53types.HealthCheckType, want string) {
		t.Helper()
		if said, err := ask(ids[kind]); err != nil || !strings.HasPrefix(said, want) {
			t.Errorf("%s: got %q, %v, want %q", kind, said, err, want)
		}
	}
	wants(route53types.HealthCheckTypeHttp, "Success: HTTP Status Code 200, OK. Resolved IP: 127.0.0.1")
	wants(route53types.HealthCheckTypeTcp, "Success: ")
	status = http.StatusServiceUnavailable
	wants(route53types.HealthCheckTypeHttp, "Failure: HTTP Status Code 503, Service Unavailable.")
	web.Close()
	wants(route53types.HealthCheckTypeHttp, "Failure: Connection refused.")
	wants(route53types.HealthCheckTypeTcp, "Failure: Connection refused.")
	if _, err := ask("nobody"); code(err) != "NoSuchHealthCheck" {
		t.Errorf("got %v", err)
	}
	if _, err := ask(ids[route53types.HealthCheckTypeHttps]); code(err) != "InvalidInput" {
		t.Errorf("got %v", err)
	}
}

// deployment is a rule with a dead-letter queue that starts a state machine,
// which calls the test function.
type deployment struct {
	name, machine, machineRole, ruleRole, queue, alarm string
}

func deploy(t *testing.T, a *AWS, region string) deployment {
	t.Helper()
	name := unique(t)
	config := a.Config(region)
	d := deployment{name: name}
	machineName := "machine-" + name
	d.machineRole, d.ruleRole = makeRole(t, a, "machine-"+name), makeRole(t, a, "rule-"+name)
	function := "arn:aws:lambda:" + region + ":" + AccountID + ":function:" + name
	role := makeRole(t, a, "function-"+name)
	if _, err := lambda.NewFromConfig(config).CreateFunction(t.Context(), &lambda.CreateFunctionInput{
		FunctionName: &name, Role: &role, Runtime: lambdatypes.RuntimeProvidedal2023, Handler: aws.String("bootstrap"),
		Architectures: []lambdatypes.Architecture{thisArchitecture()}, Timeout: aws.Int32(20), MemorySize: aws.Int32(256), Publish: true,
		Code: &lambdatypes.FunctionCode{ZipFile: bench.zip},
	}); err != nil {
		t.Fatal(err)
	}
	definition := `{"StartAt": "Do", "States": {"Do": {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke",
		"Parameters": {"FunctionName": "` + function + `:1", "Payload": {"do": "sleep", "ms": 100, "event.$": "$", "name.$": "$$.Execution.Name"}},
		"OutputPath": "$.Payload", "TimeoutSeconds": 60, "End": true}}}`
	machine, err := sfn.NewFromConfig(config).CreateStateMachine(t.Context(), &sfn.CreateStateMachineInput{
		Name: &machineName, RoleArn: &d.machineRole, Definition: &definition,
	})
	if err != nil {
		t.Fatal(err)
	}
	d.machine = *machine.StateMachineArn
	queue, err := sqs.NewFromConfig(config).CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &name})
	if err != nil {
		t.Fatal(err)
	}
	d.queue = *queue.QueueUrl
	d.alarm = name + "-alarm-i-1-cpu"
	events := eventbridge.NewFromConfig(config)
	if _, err := events.PutRule(t.Context(), &eventbridge.PutRuleInput{
		Name: &name,
		EventPattern: aws.String(`{"source": ["aws.cloudwatch"], "detail-type": ["CloudWatch Alarm State Change"],
			"resources": [{"prefix": "arn:aws:cloudwatch:` + region + `:` + AccountID + `:alarm:` + name + `-alarm-"}], "detail": {"state": {"value": ["ALARM"]}}}`),
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := events.PutTargets(t.Context(), &eventbridge.PutTargetsInput{Rule: &name, Targets: []ebtypes.Target{{
		Id: aws.String("machine"), Arn: &d.machine, RoleArn: &d.ruleRole,
		DeadLetterConfig: &ebtypes.DeadLetterConfig{Arn: aws.String("arn:aws:sqs:" + region + ":" + AccountID + ":" + name)},
		RetryPolicy:      &ebtypes.RetryPolicy{MaximumRetryAttempts: aws.Int32(1)},
	}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := cloudwatch.NewFromConfig(config).PutMetricAlarm(t.Context(), &cloudwatch.PutMetricAlarmInput{
		AlarmName: &d.alarm, AlarmDescription: aws.String("CPU of i-1"),
		Namespace: aws.String("AWS/EC2"), MetricName: aws.String("CPUUtilization"), Statistic: cwtypes.StatisticMaximum, Period: aws.Int32(300),
		Dimensions:        []cwtypes.Dimension{{Name: aws.String("InstanceId"), Value: aws.String("i-1")}},
		EvaluationPeriods: aws.Int32(1), Threshold: aws.Float64(100), ComparisonOperator: cwtypes.ComparisonOperatorGreaterThanOrEqualToThreshold,
	}); err != nil {
		t.Fatal(err)
	}
	return d
}

// finished waits for an execution's end and returns its output.
func finished(t *testing.T, a *AWS, region, execution string) *sfn.DescribeExecutionOutput {
	t.Helper()
	client := sfn.NewFromConfig(a.Config(region))
	var out *sfn.DescribeExecutionOutput
	eventually(t, "the execution ends", func() bool {
		var err error
		out, err = client.DescribeExecution(t.Context(), &sfn.DescribeExecutionInput{ExecutionArn: &execution})
		if err != nil {
			t.Fatal(err)
		}
		return out.Status != sfntypes.ExecutionStatusRunning
	})
	return out
}

func (d deployment) letters(t *testing.T, a *AWS, region string) []sqstypes.Message {
	t.Helper()
	out, err := sqs.NewFromConfig(a.Config(region)).ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{
		QueueUrl: &d.queue, MaxNumberOfMessages: 10, MessageAttributeNames: []string{"All"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.Messages
}

// datapointTime is a time in the JSON within the JSON of an event.
var datapointTime = regexp.MustCompile(`((?:query|start)Date\\":\\")\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000`)

func TestAlarm(t *testing.T) {
	a := shared(t)
	const region = "ap-southeast-2"
	d := deploy(t, a, region)

	started, err := a.Ring(t.Context(), region, d.alarm, "CPU is busy")
	if err != nil || len(started) != 1 {
		t.Fatalf("started %v, %v", started, err)
	}
	out := finished(t, a, region, started[0])
	if out.Status != sfntypes.ExecutionStatusSucceeded {
		t.Fatalf("the execution ended %s: %s", out.Status, aws.ToString(out.Cause))
	}
	var event map[string]any
	// The times of datapoints are within a text.
	input := datapointTime.ReplaceAllString(*out.Input, "${1}TIME")
	if err := json.Unmarshal([]byte(input), &event); err != nil {
		t.Fatal(err)
	}
	sample, err := os.ReadFile("testdata/alarm.json")
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]any
	if err := json.Unmarshal(bytes.ReplaceAll(sample, []byte("ALARM-NAME"), []byte(d.alarm)), &want); err != nil {
		t.Fatal(err)
	}
	// Times and ids are made anew.
	forms := map[string]string{"id": "", "time": "2006-01-02T15:04:05Z", "timestamp": "2006-01-02T15:04:05.000-0700"}
	if diff := cmp.Diff(want, event, cmp.FilterPath(func(p cmp.Path) bool {
		step, ok := p.Last().(cmp.MapIndex)
		return ok && slices.Contains([]string{"id", "time", "timestamp"}, step.Key().String())
	}, cmp.Ignore())); diff != "" {
		t.Error(diff)
	}
	state := event["detail"].(map[string]any)["state"].(map[string]any)
	if _, err := time.Parse(forms["timestamp"], state["timestamp"].(string)); err != nil || !strings.HasSuffix(state["timestamp"].(string), "+0000") {
		t.Errorf("timestamp %v", state["timestamp"])
	}
	if _, err := time.Parse(forms["time"], event["time"].(string)); err != nil {
		t.Error(err)
	}
	// The function ran, with the execution's name.
	var output struct {
		Text  string
		Event map[string]any
	}
	if err := json.Unmarshal([]byte(*out.Output), &output); err != nil || output.Text != *out.Name || !strings.HasPrefix(*out.Name, event["id"].(string)+"_") {
		t.Errorf("output %s of execution %s (%v)", *out.Output, *out.Name, err)
	}
	// Who did it.
	var seen []string
	for _, c := range a.Calls() {
		if c.Role == d.ruleRole || c.Role == d.machineRole {
			seen = append(seen, fmt.Sprintln(c.Role, c.Service, c.Action, c.Region, c.Resources, c.Status))
		}
	}
	wantCalls := []string{
		fmt.Sprintln(d.ruleRole, "states", "StartExecution", region, []string{d.machine}, 200),
		fmt.Sprintln(d.machineRole, "lambda", "InvokeFunction", region,
			[]string{"arn:aws:lambda:" + region + ":" + AccountID + ":function:" + d.name + ":1"}, 200),
	}
	if diff := cmp.Diff(wantCalls, seen); diff != "" {
		t.Error(diff)
	}

	t.Run("only changes count", func(t *testing.T) {
		client := cloudwatch.NewFromConfig(a.Config(region))
		executions := func() int {
			out, err := sfn.NewFromConfig(a.Config(region)).ListExecutions(t.Context(), &sfn.ListExecutionsInput{StateMachineArn: &d.machine})
			if err != nil {
				t.Fatal(err)
			}
			return len(out.Executions)
		}
		before := executions()
		for range 3 {
			if _, err := client.SetAlarmState(t.Context(), &cloudwatch.SetAlarmStateInput{AlarmName: &d.alarm, StateValue: "ALARM", StateReason: aws.String("again")}); err != nil {
				t.Fatal(err)
			}
		}
		if got := executions(); got != before {
			t.Errorf("%d executions more", got-before)
		}
	})
	t.Run("unknown", func(t *testing.T) {
		if _, err := a.Ring(t.Context(), region, "nobody", "x"); err == nil || !strings.Contains(err.Error(), "ResourceNotFound") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("an event of a service", func(t *testing.T) {
		body, err := json.Marshal(event)
		if err != nil {
			t.Fatal(err)
		}
		started, err := a.PutEvent(t.Context(), region, body)
		if err != nil || len(started) != 1 {
			t.Errorf("started %v, %v", started, err)
		}
	})
	t.Run("AWS CLI", func(t *testing.T) {
		cli, err := exec.LookPath("aws")
		if err != nil {
			t.Skip("there is no aws on PATH")
		}
		t.Setenv("AWS_PROFILE", "somebody")
		for _, state := range []string{"OK", "ALARM"} {
			//nolint:gosec // the AWS CLI
			cmd := exec.CommandContext(t.Context(), cli, "cloudwatch", "set-alarm-state", "--region", region,
				"--alarm-name", d.alarm, "--state-value", state, "--state-reason", "by hand "+state)
			cmd.Env = a.Environ()
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		}
		out, err := sfn.NewFromConfig(a.Config(region)).ListExecutions(t.Context(), &sfn.ListExecutionsInput{StateMachineArn: &d.machine})
		if err != nil {
			t.Fatal(err)
		}
		var inputs []string
		for _, e := range out.Executions {
			inputs = append(inputs, *finished(t, a, region, *e.ExecutionArn).Input)
		}
		if all := strings.Join(inputs, "\n"); strings.Count(all, `"reason":"by hand ALARM"`) != 1 {
			t.Errorf("the CLI's alarm started no execution, or several:\n%s", all)
		}
	})
}

// An event whose rule lacks a right or its target goes to the dead-letter queue at
// once; a passing trouble is overcome.
func TestDeadLetters(t *testing.T) {
	a := shared(t)
	const region = "ap-southeast-1"
	d := deploy(t, a, region)
	// rings has the alarm fire and returns how often StartExecution was called.
	rings := func(reason string, started int) (calls int) {
		t.Helper()
		before := len(a.Calls())
		arns, err := a.Ring(t.Context(), region, d.alarm, reason)
		if err != nil || len(arns) != started {
			t.Fatalf("%s: started %v, %v", reason, arns, err)
		}
		for _, c := range a.Calls()[before:] {
			if c.Region == region && c.Action == "StartExecution" {
				calls++
			}
		}
		return calls
	}
	a.AddFault(Fault{Service: "states", Action: "StartExecution", Region: region, Status: 500, Times: 1})
	if n := rings("an outage that passes", 1); n != 2 || len(d.letters(t, a, region)) != 0 {
		t.Errorf("StartExecution was called %d times", n)
	}
	refused := func(reason string, calls int, code, message string) {
		t.Helper()
		if n := rings(reason, 0); n != calls {
			t.Errorf("%s: StartExecution was called %d times", reason, n)
		}
		letters := d.letters(t, a, region)
		if len(letters) != 1 || !strings.Contains(*letters[0].Body, reason) {
			t.Fatalf("%s: letters: %+v", reason, letters)
		}
		got := map[string]string{}
		for name, value := range letters[0].MessageAttributes {
			got[name] = *value.StringValue
		}
		want := map[string]string{
			"ERROR_CODE": code, "ERROR_MESSAGE": message, "RETRY_ATTEMPTS": "0",
			"RULE_ARN": "arn:aws:events:" + region + ":" + AccountID + ":rule/" + d.name, "TARGET_ARN": d.machine,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", reason, diff)
		}
	}
	a.AddFault(Fault{Service: "states", Action: "StartExecution", Region: region, Status: 400, Code: "AccessDeniedException", Message: "not you", Times: 1})
	refused("a missing right", 1, "NO_PERMISSIONS", "not you")
	roles := iam.NewFromConfig(a.Config(region))
	if _, err := roles.DeleteRole(t.Context(), &iam.DeleteRoleInput{RoleName: aws.String("rule-" + d.name)}); err != nil {
		t.Fatal(err)
	}
	refused("a missing role", 0, "FAILED_TO_ASSUME_ROLE", "there is no role "+d.ruleRole)
	makeRole(t, a, "rule-"+d.name)
	rings("the role is back", 1)
	d.machine += "-none"
	if _, err := eventbridge.NewFromConfig(a.Config(region)).PutTargets(t.Context(), &eventbridge.PutTargetsInput{Rule: &d.name, Targets: []ebtypes.Target{{
		Id: aws.String("machine"), Arn: &d.machine, RoleArn: &d.ruleRole,
		DeadLetterConfig: &ebtypes.DeadLetterConfig{Arn: aws.String("arn:aws:sqs:" + region + ":" + AccountID + ":" + d.name)},
	}}}); err != nil {
		t.Fatal(err)
	}
	refused("a missing target", 1, "NO_RESOURCE", "State Machine Does Not Exist: '"+d.machine+"'")
}

// A name is an execution's own: of several that want it at once one gets it.
func TestExecutionNames(t *testing.T) {
	a := shared(t)
	name := unique(t)
	role := makeRole(t, a, name)
	client := sfn.NewFromConfig(a.Config(region), func(o *sfn.Options) { o.RetryMaxAttempts = 1 })
	machine, err := client.CreateStateMachine(t.Context(), &sfn.CreateStateMachineInput{
		Name: &name, RoleArn: &role, Definition: aws.String(`{"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 5, "End": true}}}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	start := func(input string) error {
		_, err := client.StartExecution(t.Context(), &sfn.StartExecutionInput{StateMachineArn: machine.StateMachineArn, Name: aws.String("one"), Input: &input})
		return err
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	got := map[string]int{}
	for i := range 8 {
		wg.Go(func() {
			err := start(fmt.Sprintf(`{"n": %d}`, i))
			mu.Lock()
			defer mu.Unlock()
			got[code(err)]++
		})
	}
	wg.Wait()
	if diff := cmp.Diff(map[string]int{"<nil>": 1, "ExecutionAlreadyExists": 7}, got); diff != "" {
		t.Error(diff)
	}
	out, err := client.ListExecutions(t.Context(), &sfn.ListExecutionsInput{StateMachineArn: machine.StateMachineArn})
	if err != nil || len(out.Executions) != 1 {
		t.Fatalf("got %+v, %v", out, err)
	}
	// The same once more, as after a lost answer, is no other one.
	input := *inputOf(t, client, *out.Executions[0].ExecutionArn)
	if err := start(input); err != nil {
		t.Errorf("the same again: %v", err)
	}
}

func inputOf(t *testing.T, client *sfn.Client, execution string) *string {
	t.Helper()
	out, err := client.DescribeExecution(t.Context(), &sfn.DescribeExecutionInput{ExecutionArn: &execution})
	if err != nil {
		t.Fatal(err)
	}
	return out.Input
}

// What is no fault of the engine's is not reported as one.
func TestEngineComplains(t *testing.T) {
	a := shared(t)
	name := unique(t)
	role := makeRole(t, a, name)
	client := sfn.NewFromConfig(a.Config(region))
	definition := `{"StartAt": "Look", "States": {
		"Look": {"Type": "Choice", "Choices": [{"Variable": "$.` + name + `", "IsPresent": true, "Next": "Good"}], "Default": "Bad"},
		"Good": {"Type": "Succeed"}, "Bad": {"Type": "Fail", "Error": "` + name + `", "Cause": "it is not there"}}}`
	machine, err := client.CreateStateMachine(t.Context(), &sfn.CreateStateMachineInput{Name: &name, RoleArn: &role, Definition: &definition})
	if err != nil {
		t.Fatal(err)
	}
	started, err := client.StartExecution(t.Context(), &sfn.StartExecutionInput{StateMachineArn: machine.StateMachineArn, Name: &name, Input: aws.String("{}")})
	if err != nil {
		t.Fatal(err)
	}
	if out := finished(t, a, region, *started.ExecutionArn); out.Status != sfntypes.ExecutionStatusFailed || aws.ToString(out.Error) != name {
		t.Errorf("it ended %s: %s", out.Status, aws.ToString(out.Error))
	}
	if said := bench.log.String(); strings.Contains(said, name) {
		t.Errorf("it said %s", said)
	}
}

// TestManyExecutions runs two dozen executions at once, the first ones of the
// engine in their region.
func TestManyExecutions(t *testing.T) {
	a := shared(t)
	const region, n = "ap-northeast-1", 24
	d := deploy(t, a, region)
	client := sfn.NewFromConfig(a.Config(region))
	var wg sync.WaitGroup
	arns := make([]string, n)
	for i := range arns {
		wg.Go(func() {
			out, err := client.StartExecution(t.Context(), &sfn.StartExecutionInput{
				StateMachineArn: &d.machine, Name: aws.String(fmt.Sprintf("n%d", i)), Input: aws.String(`{}`),
			})
			if err != nil {
				t.Error(err)
				return
			}
			arns[i] = *out.ExecutionArn
		})
	}
	wg.Wait()
	for _, arn := range arns {
		if out := finished(t, a, region, arn); out.Status != sfntypes.ExecutionStatusSucceeded {
			t.Errorf("%s ended %s: %s %s", arn, out.Status, aws.ToString(out.Error), aws.ToString(out.Cause))
		}
	}
}

func TestPutEvents(t *testing.T) {
	a := shared(t)
	const region = "ap-south-1"
	d := deploy(t, a, region)
	client := eventbridge.NewFromConfig(a.Config(region))
	name := d.name
	if _, err := client.PutRule(t.Context(), &eventbridge.PutRuleInput{Name: aws.String(name + "-own"), EventPattern: aws.String(`{"source": ["own"]}`)}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.PutTargets(t.Context(), &eventbridge.PutTargetsInput{Rule: aws.String(name + "-own"), Targets: []ebtypes.Target{
		{Id: aws.String("queue"), Arn: aws.String("arn:aws:sqs:" + region + ":" + AccountID + ":" + name), InputPath: aws.String("$.detail.a")},
		{Id: aws.String("machine"), Arn: &d.machine, RoleArn: &d.ruleRole, InputTransformer: &ebtypes.InputTransformer{
			InputPathsMap: map[string]string{"a": "$.detail.a", "id": "$.id"}, InputTemplate: aws.String(`{"got": <a>, "text": "a is <a>", "id": "<id>"}`),
		}},
	}}); err != nil {
		t.Fatal(err)
	}
	entry := func(source, detail string) ebtypes.PutEventsRequestEntry {
		return ebtypes.PutEventsRequestEntry{Source: &source, DetailType: aws.String("test"), Detail: &detail}
	}
	out, err := client.PutEvents(t.Context(), &eventbridge.PutEventsInput{Entries: []ebtypes.PutEventsRequestEntry{
		entry("own", `{"a": [1, "x"]}`), entry("aws.ec2", `{}`), entry("own", `{`), entry("other", `{}`),
	}})
	if err != nil {
		t.Fatal(err)
	}
	var codes []string
	for _, e := range out.Entries {
		codes = append(codes, aws.ToString(e.ErrorCode))
	}
	if diff := cmp.Diff([]string{"", "NotAuthorizedForSource", "MalformedDetail", ""}, codes); diff != "" {
		t.Error(diff)
	}
	if letters := d.letters(t, a, region); len(letters) != 1 || *letters[0].Body != `[1,"x"]` {
		t.Errorf("got %+v", letters)
	}
	executions, err := sfn.NewFromConfig(a.Config(region)).ListExecutions(t.Context(), &sfn.ListExecutionsInput{StateMachineArn: &d.machine})
	if err != nil || len(executions.Executions) != 1 {
		t.Fatalf("got %+v, %v", executions, err)
	}
	if got, want := *finished(t, a, region, *executions.Executions[0].ExecutionArn).Input, `{"got": [1,"x"], "text": "a is [1,\"x\"]", "id": "`+aws.ToString(out.Entries[0].EventId)+`"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	tested, err := client.TestEventPattern(t.Context(), &eventbridge.TestEventPatternInput{
		EventPattern: aws.String(`{"resources": [{"prefix": "arn:x"}]}`), Event: aws.String(`{"resources": ["arn:y", "arn:xy"]}`),
	})
	if err != nil || !tested.Result {
		t.Errorf("got %+v, %v", tested, err)
	}
}

func TestMatchPattern(t *testing.T) {
	const event = `{"source": "aws.cloudwatch", "resources": ["arn:a", "arn:b"], "detail": {"n": 5, "s": "Text", "null": null,
		"list": [{"k": 1}, {"k": 2}], "ip": "10.0.0.9", "empty": {}}}`
	var decoded any
	if err := json.Unmarshal([]byte(event), &decoded); err != nil {
		t.Fatal(err)
	}
	for pattern, want := range map[string]string{
		`{"source": ["aws.cloudwatch"]}`:                                                   "yes",
		`{"source": ["aws.ec2", "aws.cloudwatch"]}`:                                        "yes",
		`{"source": ["aws.ec2"]}`:                                                          "no",
		`{"source": ["aws.cloudwatch"], "detail": {"n": [6]}}`:                             "no",
		`{"resources": [{"prefix": "arn:b"}]}`:                                             "yes",
		`{"resources": [{"prefix": "b"}]}`:                                                 "no",
		`{"resources": [{"suffix": ":a"}]}`:                                                "yes",
		`{"detail": {"s": [{"equals-ignore-case": "TEXT"}]}}`:                              "yes",
		`{"detail": {"s": [{"prefix": {"equals-ignore-case": "TE"}}]}}`:                    "yes",
		`{"detail": {"s": [{"wildcard": "T*x*t"}]}}`:                                       "yes",
		`{"detail": {"s": [{"wildcard": "T*y*t"}]}}`:                                       "no",
		`{"detail": {"s": [{"anything-but": ["Text"]}]}}`:                                  "no",
		`{"detail": {"s": [{"anything-but": "Other"}]}}`:                                   "yes",
		`{"detail": {"s": [{"anything-but": {"prefix": ["Te", "x"]}}]}}`:                   "no",
		`{"detail": {"n": [{"numeric": [">", 0, "<=", 5]}]}}`:                              "yes",
		`{"detail": {"n": [{"numeric": [">", 5]}]}}`:                                       "no",
		`{"detail": {"null": [null]}}`:                                                     "yes",
		`{"detail": {"gone": [null]}}`:                                                     "no",
		`{"detail": {"gone": [{"exists": false}]}}`:                                        "yes",
		`{"detail": {"s": [{"exists": true}]}}`:                                            "yes",
		`{"detail": {"gone": {"deep": [{"exists": false}]}}}`:                              "yes",
		`{"detail": {"list": {"k": [2]}}}`:                                                 "yes",
		`{"detail": {"list": {"k": [3]}}}`:                                                 "no",
		`{"detail": {"ip": [{"cidr": "10.0.0.0/24"}]}}`:                                    "yes",
		`{"detail": {"$or": [{"n": [1]}, {"s": ["Text"]}]}}`:                               "yes",
		`{"detail": {"$or": [{"n": [1]}, {"s": ["x"]}]}}`:                                  "no",
		`{"source": "aws.cloudwatch"}`:                                                     "error",
		`{"source": []}`:                                                                   "error",
		`{"source": [{"like": "x"}]}`:                                                      "error",
		`{"source"`:                                                                        "error",
		`{"detail": {"list": [[1]]}}`:                                                      "no",
		`{"source": [{"anything-but": {"wildcard": "aws.*"}}], "detail": {"n": [5, "x"]}}`: "no",
	} {
		matches, err := matchPattern(pattern, decoded)
		got := map[bool]string{true: "yes", false: "no"}[matches]
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%s: %s (%v), want %s", pattern, got, err, want)
		}
	}
}

func TestValidateDefinition(t *testing.T) {
	a := shared(t)
	client := sfn.NewFromConfig(a.Config(region))
	//nolint:gosec // state machines, no credentials
	for definition, want := range map[string]string{
		`{"StartAt": "A", "States": {"A": {"Type": "Pass", "Next": "B"}, "B": {"Type": "Succeed"}}}`: "OK",
		`{"StartAt": "A"`: "not valid JSON",
		`{"States": {"A": {"Type": "Pass", "End": true}}}`:                                                                                                   "StartAt",
		`{"StartAt": "A", "States": {"A": {"Type": "Pass", "Next": "B"}}}`:                                                                                   `"B"`,
		`{"StartAt": "A", "States": {"A": {"Type": "Pass"}}}`:                                                                                                "Next and End",
		`{"StartAt": "A", "States": {"A": {"Type": "Past", "End": true}}}`:                                                                                   "Past",
		`{"StartAt": "A", "States": {"A": {"Type": "Pass", "End": true}, "B": {"Type": "Succeed"}}}`:                                                         "no state leads here",
		`{"StartAt": "A", "States": {"A": {"Type": "Choice", "Choices": [{"Next": "C"}]}}}`:                                                                  `"C"`,
		`{"StartAt": "A", "States": {"A": {"Type": "Task", "Resource": "r", "End": true, "Catch": [{"Next": "C"}]}}}`:                                        `"C"`,
		`{"StartAt": "A", "States": {"A": {"Type": "Map", "End": true, "ItemProcessor": {"StartAt": "I", "States": {"I": {"Type": "Task", "End": true}}}}}}`: "Resource",
	} {
		out, err := client.ValidateStateMachineDefinition(t.Context(), &sfn.ValidateStateMachineDefinitionInput{Definition: &definition})
		if err != nil {
			t.Fatal(err)
		}
		got := string(out.Result)
		for _, d := range out.Diagnostics {
			got += " " + *d.Message
		}
		if ok := strings.Contains(got, want); !ok || (want == "OK") != (out.Result == sfntypes.ValidateStateMachineDefinitionResultCodeOk) {
			t.Errorf("%s: got %s, want %s", definition, got, want)
		}
	}
	versions, err := client.ListStateMachineVersions(t.Context(), &sfn.ListStateMachineVersionsInput{StateMachineArn: aws.String("arn:aws:states:" + region + ":1:stateMachine:x")})
	if err != nil || len(versions.StateMachineVersions) != 0 {
		t.Errorf("got %+v, %v", versions, err)
	}
}

func TestRealDefinition(t *testing.T) {
	raw, err := os.ReadFile("../../terraform/modules/workflow/responder.asl.json")
	var definition map[string]any
	if err != nil || json.Unmarshal(raw, &definition) != nil {
		t.Fatal(err)
	}
	validateStates(definition, "", func(code, location, message string) { t.Error(code, location, message) })
}

func TestRefused(t *testing.T) {
	a := shared(t)
	params := ssm.NewFromConfig(a.Config(region))
	for value, want := range map[string]string{"": "ValidationException", "a {{x}} b": "ValidationException", `{"a":{"b":{}}}`: "<nil>"} {
		_, err := params.PutParameter(t.Context(), &ssm.PutParameterInput{Name: aws.String("/refused/" + unique(t)), Value: &value, Type: ssmtypes.ParameterTypeSecureString})
		if code(err) != want {
			t.Errorf("%q: got %v", value, err)
		}
	}
	client := iam.NewFromConfig(a.Config(region))
	policy := `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ec2:RebootInstances", "Resource": ["` + strings.Repeat("x", 6200) + `"]}]}`
	if _, err := client.CreatePolicy(t.Context(), &iam.CreatePolicyInput{PolicyName: aws.String("refused"), PolicyDocument: &policy}); code(err) != "LimitExceeded" {
		t.Errorf("got %v", err)
	}
	_, err := lambda.NewFromConfig(a.Config(region)).UpdateFunctionConfiguration(t.Context(), &lambda.UpdateFunctionConfigurationInput{
		FunctionName: aws.String("x"), Environment: &lambdatypes.Environment{Variables: map[string]string{"AWS_REGION": "x"}},
	})
	if code(err) != "InvalidParameterValueException" {
		t.Errorf("got %v", err)
	}
}

func TestEnviron(t *testing.T) {
	t.Setenv("AWS_PROFILE", "somebody")
	t.Setenv("AWS_ENDPOINT_URL_SSM", "http://elsewhere")
	t.Setenv("no_proxy", "example.com")
	t.Setenv("KEPT", "1")
	a := shared(t)
	env := map[string]string{}
	for _, v := range a.Environ() {
		name, value, _ := strings.Cut(v, "=")
		if _, twice := env[name]; twice && strings.HasPrefix(name, "AWS_") {
			t.Errorf("%s twice", name)
		}
		env[name] = value
	}
	if env["KEPT"] != "1" || env["AWS_ENDPOINT_URL"] != a.Endpoint() || env["AWS_ENDPOINT_URL_SSM"] != "" || env["AWS_PROFILE"] == "somebody" ||
		env["no_proxy"] != "example.com,127.0.0.1,::1,localhost" {
		t.Errorf("got %v", env)
	}
	// Both ways to the gateway.
	for _, host := range []string{"127.0.0.1", "localhost"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://%s:%d/moto-api/config", host, a.port), nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode/100 != 2 {
			t.Errorf("%s: %s", host, resp.Status)
		}
	}
}

func TestDatapoint(t *testing.T) {
	for operator, want := range map[string][2]float64{
		"GreaterThanOrEqualToThreshold": {100, 99},
		"GreaterThanThreshold":          {101, 99},
		"LessThanOrEqualToThreshold":    {100, 101},
		"LessThanThreshold":             {99, 101},
	} {
		al := alarm{Threshold: 100, ComparisonOperator: operator}
		if got := [2]float64{al.datapoint(true), al.datapoint(false)}; got != want {
			t.Errorf("%s: %v, want %v", operator, got, want)
		}
	}
}
