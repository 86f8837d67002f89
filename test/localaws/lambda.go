package localaws

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// functionName is what a caller calls a function: a name, a partial or whole
// ARN, each with or without a qualifier.
type functionName struct{ region, name, qualifier string }

func parseFunctionName(s, qualifier, region string) functionName {
	f := functionName{region: region, qualifier: qualifier}
	parts := strings.Split(s, ":")
	if i := slices.Index(parts, "function"); i >= 0 {
		if i >= 3 && parts[0] == "arn" {
			f.region = parts[3]
		}
		parts = parts[i+1:]
	}
	if len(parts) > 0 {
		f.name = parts[0]
	}
	if len(parts) > 1 {
		f.qualifier = parts[1]
	}
	return f
}

func (f functionName) arn() string {
	arn := fmt.Sprintf("arn:%s:lambda:%s:%s:function:%s", partition(f.region), f.region, AccountID, f.name)
	if f.qualifier != "" {
		arn += ":" + f.qualifier
	}
	return arn
}

// configuration is what the gateway needs to know of a deployed function.
type configuration struct {
	FunctionName  string
	FunctionArn   string
	Version       string
	Role          string
	Runtime       string
	Handler       string
	PackageType   string
	Timeout       int
	MemorySize    int64
	CodeSha256    string
	Architectures []string
	Environment   struct{ Variables map[string]string }
	TracingConfig struct{ Mode string }
	LoggingConfig struct{ LogGroup, LogFormat, ApplicationLogLevel string }

	fingerprint string // changes when a process can no longer be used
}

// overlaid are the settings of a function that moto forgets or does not
// update; the gateway remembers them.
var overlaid = []string{"Architectures", "DeadLetterConfig", "EphemeralStorage", "LoggingConfig", "TracingConfig"}

// functions are the deployed functions and their processes.
type functions struct {
	aws *AWS

	mu sync.Mutex
	// overlays holds what moto forgets, by region, name and version.
	overlays map[functionName]map[string]any
	// reserved is the functions' reserved concurrency. moto takes 0 for none.
	reserved map[functionName]any
	// known holds configurations by how they were called, until something
	// about the function changes.
	known map[functionName]*configuration
	pools map[string]*pool // by ARN with version
	logs  map[string]*functionLog
}

func (fs *functions) init(a *AWS) {
	fs.aws = a
	fs.overlays = map[functionName]map[string]any{}
	fs.reserved = map[functionName]any{}
	fs.known = map[functionName]*configuration{}
	fs.pools = map[string]*pool{}
	fs.logs = map[string]*functionLog{}
}

// watch sees an answer of moto's to a call of Lambda's API: it learns what was
// deployed and adds what moto forgets to the answer.
func (fs *functions) watch(ctx context.Context, q *request, resp *response) {
	var answer map[string]any
	_ = json.Unmarshal(resp.body, &answer)
	var name functionName
	switch {
	case q.action == "CreateFunction":
		name = parseFunctionName(q.text("FunctionName"), "", q.region)
	case len(q.path) > 2 && q.path[1] == "functions":
		name = parseFunctionName(q.path[2], "", q.region)
	default:
		return
	}
	name.qualifier = ""
	latest := name
	latest.qualifier = "$LATEST"
	if q.http.Method != http.MethodGet {
		defer fs.forget(name)
	}
	fs.mu.Lock()
	switch q.action {
	case "CreateFunction":
		fs.overlays[latest] = map[string]any{}
		fallthrough
	case "UpdateFunctionConfiguration", "UpdateFunctionCode":
		if fs.overlays[latest] == nil {
			fs.overlays[latest] = map[string]any{}
		}
		for _, setting := range overlaid {
			if value, ok := q.json[setting]; ok {
				fs.overlays[latest][setting] = completed(setting, value, name.name)
			}
		}
	case "PutFunctionConcurrency":
		fs.reserved[name] = q.json["ReservedConcurrentExecutions"]
	case "DeleteFunctionConcurrency":
		delete(fs.reserved, name)
	case "DeleteFunction":
		qualifier := q.http.URL.Query().Get("Qualifier")
		if qualifier == "" {
			delete(fs.reserved, functionName{region: name.region, name: name.name})
		}
		maps.DeleteFunc(fs.overlays, func(f functionName, _ map[string]any) bool {
			return f.region == name.region && f.name == name.name && (qualifier == "" || f.qualifier == qualifier)
		})
	}
	if version, _ := answer["Version"].(string); version != "" && version != "$LATEST" && q.http.Method != http.MethodGet {
		published := name
		published.qualifier = version
		if fs.overlays[published] == nil {
			fs.overlays[published] = maps.Clone(fs.overlays[latest])
		}
	}
	changed := fs.overlay(answer, q.region)
	if most, reserved := fs.reserved[name]; reserved && q.action == "GetFunction" {
		answer["Concurrency"], changed = map[string]any{"ReservedConcurrentExecutions": most}, true
	}
	fs.mu.Unlock()
	if changed {
		if body, err := json.Marshal(answer); err == nil {
			resp.body = body
			resp.header.Del("X-Amz-Crc32")
		}
	}
	if q.action == "CreateFunction" || q.action == "UpdateFunctionCode" {
		sum, _ := answer["CodeSha256"].(string)
		if err := fs.keep(ctx, q, sum); err != nil {
			fs.aws.log.printf("the package of %s: %v", name.arn(), err)
		}
	}
}

// completed is a setting as AWS answers it, with its defaults.
func completed(setting string, value any, function string) any {
	fields, ok := value.(map[string]any)
	if setting != "LoggingConfig" || !ok {
		return value
	}
	fields = maps.Clone(fields)
	if fields["LogFormat"] == nil {
		fields["LogFormat"] = "Text"
	}
	if fields["LogGroup"] == nil {
		fields["LogGroup"] = "/aws/lambda/" + function
	}
	if fields["LogFormat"] == "JSON" {
		for _, level := range []string{"ApplicationLogLevel", "SystemLogLevel"} {
			if fields[level] == nil {
				fields[level] = "INFO"
			}
		}
	}
	return fields
}

// overlay adds what moto forgets to every configuration in an answer.
func (fs *functions) overlay(v any, region string) (changed bool) {
	switch v := v.(type) {
	case map[string]any:
		name, isFunction := v["FunctionName"].(string)
		version, hasVersion := v["Version"].(string)
		if isFunction && hasVersion {
			for setting, value := range fs.overlays[functionName{region, name, version}] {
				v[setting], changed = value, true
			}
			return changed
		}
		for _, child := range v {
			changed = fs.overlay(child, region) || changed
		}
	case []any:
		for _, child := range v {
			changed = fs.overlay(child, region) || changed
		}
	}
	return changed
}

// forget has the next invocation of a function read its configuration anew, and
// ends the processes that wait for work with the old one.
func (fs *functions) forget(name functionName) {
	fs.mu.Lock()
	maps.DeleteFunc(fs.known, func(f functionName, _ *configuration) bool {
		return f.region == name.region && f.name == name.name
	})
	var idle []*process
	for _, p := range fs.pools {
		if p.region == name.region && p.name == name.name {
			idle = append(idle, p.idle...)
			p.idle = nil
		}
	}
	fs.mu.Unlock()
	for _, p := range idle {
		p.kill()
	}
}

// keep stores the package that a call deployed, under its checksum: a published
// version runs its own package, also after the next one was deployed.
func (fs *functions) keep(ctx context.Context, q *request, sum string) error {
	code := q.json
	if q.action == "CreateFunction" {
		code, _ = q.json["Code"].(map[string]any)
	}
	field := func(name string) string { s, _ := code[name].(string); return s }
	var body []byte
	switch {
	case field("ZipFile") != "":
		var err error
		if body, err = base64.StdEncoding.DecodeString(field("ZipFile")); err != nil {
			return err
		}
	case field("S3Key") != "":
		object := (&url.URL{Path: "/" + field("S3Bucket") + "/" + field("S3Key")}).EscapedPath()
		for _, version := range []string{field("S3ObjectVersion"), ""} {
			versioned := object
			if version != "" {
				versioned += "?versionId=" + url.QueryEscape(version)
			}
			resp, err := fs.aws.moto.get(ctx, "s3", q.region, versioned)
			if err != nil {
				return err
			}
			if resp.status != http.StatusOK {
				return fmt.Errorf("s3:/%s: %w", versioned, readError(resp))
			}
			// moto deploys the latest object, whatever version was asked for.
			if body = resp.body; sum == checksum(body) {
				break
			}
		}
	default:
		return nil
	}
	dir := fs.codeDir(checksum(body))
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return err
	}
	return os.WriteFile(dir+".zip", body, 0o600)
}

func checksum(body []byte) string {
	sum := sha256.Sum256(body)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// codeDir is where the package with a checksum is unpacked.
func (fs *functions) codeDir(sum string) string {
	raw, err := base64.StdEncoding.DecodeString(sum)
	if err != nil {
		raw = []byte(sum)
	}
	return filepath.Join(fs.aws.dir, "code", hex.EncodeToString(raw[:min(len(raw), 16)]))
}

// unpacked is the folder of a function's unpacked package.
func (fs *functions) unpacked(c *configuration) (string, error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	dir := fs.codeDir(c.CodeSha256)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	body, err := os.ReadFile(dir + ".zip") //nolint:gosec // the name is a checksum
	if err != nil {
		return "", fmt.Errorf("its package was not deployed through the gateway: %w", err)
	}
	temp := dir + ".tmp"
	if err := errors.Join(os.RemoveAll(temp), unzip(body, temp)); err != nil {
		return "", err
	}
	return dir, os.Rename(temp, dir)
}

// unzip unpacks a package, with the modes it asks for, into a new folder.
func unzip(body []byte, dir string) (err error) {
	z, err := zip.NewReader(bytes.NewReader(body), int64(len(body)))
	if err != nil {
		return fmt.Errorf("its package is no zip file: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	for _, f := range z.File {
		if f.FileInfo().IsDir() {
			err = root.MkdirAll(path.Clean(f.Name), 0o700)
		} else {
			err = unzipFile(f, root)
		}
		if err != nil {
			return fmt.Errorf("unpack %s: %w", f.Name, err)
		}
	}
	return nil
}

func unzipFile(f *zip.File, root *os.Root) (err error) {
	if err := root.MkdirAll(path.Dir(f.Name), 0o700); err != nil {
		return err
	}
	in, err := f.Open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	out, err := root.OpenFile(f.Name, os.O_CREATE|os.O_WRONLY|os.O_EXCL, f.Mode().Perm()&0o755|0o400)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in) //nolint:gosec // the package is ours, and Lambda's own limit is 250 MB
	return errors.Join(err, out.Close())
}

// configuration reads how a function is configured. The error is an *apiError
// where there is no such function.
func (fs *functions) configuration(ctx context.Context, name functionName) (*configuration, error) {
	fs.mu.Lock()
	known := fs.known[name]
	fs.mu.Unlock()
	if known != nil {
		return known, nil
	}
	address := "/2015-03-31/functions/" + url.PathEscape(name.name)
	if name.qualifier != "" {
		address += "?Qualifier=" + url.QueryEscape(name.qualifier)
	}
	resp, err := fs.aws.moto.get(ctx, "lambda", name.region, address)
	if err != nil {
		return nil, err
	}
	if resp.status != http.StatusOK {
		e := readError(resp)
		if resp.status == http.StatusNotFound {
			e.code, e.message = "ResourceNotFoundException", "Function not found: "+name.arn()
		}
		return nil, e
	}
	var answer map[string]any
	if err := json.Unmarshal(resp.body, &answer); err != nil {
		return nil, err
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.overlay(answer, name.region)
	merged, err := json.Marshal(answer)
	if err != nil {
		return nil, err
	}
	var function struct {
		Configuration configuration
	}
	if err := json.Unmarshal(merged, &function); err != nil {
		return nil, err
	}
	c := &function.Configuration
	own := *c
	own.FunctionArn = ""
	fingerprint, err := json.Marshal(own)
	if err != nil {
		return nil, err
	}
	c.fingerprint = string(fingerprint)
	fs.known[name] = c
	return c, nil
}

// maxPayload is the limit of a synchronous invocation's request and answer.
const maxPayload = 6 << 20

// answer answers an invocation.
func (fs *functions) answer(ctx context.Context, q *request) *response {
	if len(q.body) > maxPayload {
		return q.refuse(http.StatusRequestEntityTooLarge, "RequestTooLargeException",
			fmt.Sprintf("%d byte payload is too large for the RequestResponse invocation type (limit %d bytes)", len(q.body), maxPayload))
	}
	if len(q.body) > 0 && !json.Valid(q.body) {
		return q.refuse(http.StatusBadRequest, "InvalidRequestContentException", "Could not parse request body into json")
	}
	name := parseFunctionName(q.path[2], q.http.URL.Query().Get("Qualifier"), q.region)
	c, err := fs.configuration(ctx, name)
	if err != nil {
		if e, ok := errors.AsType[*apiError](err); ok {
			return q.refuse(e.status, e.code, e.message)
		}
		return q.refuse(http.StatusInternalServerError, "ServiceException", err.Error())
	}
	if c.PackageType != "Zip" || !strings.HasPrefix(c.Runtime, "provided") {
		return q.refuse(http.StatusBadRequest, "InvalidRuntimeException",
			fmt.Sprintf("the local AWS runs zip packages on provided.* runtimes, and %s is %s on %s", c.FunctionName, c.PackageType, c.Runtime))
	}
	fs.mu.Lock()
	most := fs.reserved[functionName{region: name.region, name: name.name}]
	fs.mu.Unlock()
	if fmt.Sprint(most) == "0" {
		return q.refuse(http.StatusTooManyRequests, "TooManyRequestsException", "Rate Exceeded.")
	}
	header := http.Header{"X-Amz-Executed-Version": {c.Version}}
	switch q.http.Header.Get("X-Amz-Invocation-Type") {
	case "DryRun":
		return &response{status: http.StatusNoContent, header: header}
	case "Event":
		fs.aws.background(func() { _, _ = fs.invoke(fs.aws.ctx, c, name, q.body) })
		return &response{status: http.StatusAccepted, header: header}
	}
	result, err := fs.invoke(ctx, c, name, q.body)
	if err != nil {
		return q.refuse(http.StatusInternalServerError, "ServiceException", err.Error())
	}
	if len(result.payload) > maxPayload {
		result.fail("Function.ResponseSizeTooLarge",
			fmt.Sprintf("Response payload size exceeded maximum allowed payload size (%d bytes).", maxPayload))
	}
	header.Set("Content-Type", "application/json")
	header.Set("X-Amzn-Requestid", result.id)
	if result.failed {
		header.Set("X-Amz-Function-Error", "Unhandled")
	}
	return &response{status: http.StatusOK, header: header, body: result.payload}
}

// Logs is what the processes of a function wrote, with Lambda's own START, END
// and REPORT lines, of the last megabyte. The function is an ARN without a
// version, or a name, which stands for the functions of that name in all
// regions.
func (a *AWS) Logs(function string) string {
	var all strings.Builder
	for _, log := range a.functions.logsOf(function) {
		all.WriteString(log.String())
	}
	return all.String()
}

// logsOf finds the logs of a function, see Logs.
func (fs *functions) logsOf(function string) []*functionLog {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	var found []*functionLog
	for _, arn := range slices.Sorted(maps.Keys(fs.logs)) {
		if arn == function || arn[strings.LastIndex(arn, ":")+1:] == function {
			found = append(found, fs.logs[arn])
		}
	}
	return found
}

// Invocation is one run of a function.
type Invocation struct {
	// Time is when it began.
	Time time.Time
	// RequestID and Version are as in Lambda's own lines of the log.
	RequestID, Version string
	Event              json.RawMessage
	// Answer is what the function answered, or Lambda in its place when Failed.
	Answer json.RawMessage
	Failed bool
	// Cold says that its process was started for it.
	Cold bool
	// Log is what the process wrote, with Lambda's own lines, until its next
	// invocation began.
	Log string
}

// maxInvocations bounds what Invocations remembers of a function.
const maxInvocations = 10_000

// Invocations lists the runs of a function that have ended, in the order in
// which they began; of very many, the latest. The function is named as for Logs.
func (a *AWS) Invocations(function string) []Invocation {
	var all []Invocation
	for _, log := range a.functions.logsOf(function) {
		all = append(all, log.ended()...)
	}
	slices.SortStableFunc(all, func(x, y Invocation) int { return x.Time.Compare(y.Time) })
	return all
}

// maxLog is how much of a function's output is kept.
const maxLog = 1 << 20

// functionLog keeps the end of what a function wrote, and its invocations.
type functionLog struct {
	mu          sync.Mutex
	buf         []byte
	invocations []*logged
}

// logged is an invocation while it may still be written about.
type logged struct {
	Invocation
	over bool
	log  []byte
}

// processLog is what one process writes.
type processLog struct {
	log *functionLog
	now *logged // its latest invocation; guarded by log.mu
}

// begin has what is written from now on belong to an invocation.
func (l *processLog) begin(i Invocation) {
	l.log.mu.Lock()
	defer l.log.mu.Unlock()
	l.now = &logged{Invocation: i}
	if len(l.log.invocations) >= maxInvocations {
		l.log.invocations = slices.Delete(l.log.invocations, 0, maxInvocations/2)
	}
	l.log.invocations = append(l.log.invocations, l.now)
}

// end keeps how that invocation ended.
func (l *processLog) end(r result) {
	l.log.mu.Lock()
	defer l.log.mu.Unlock()
	l.now.over, l.now.Answer, l.now.Failed = true, r.payload, r.failed
}

func (l *processLog) Write(p []byte) (int, error) {
	l.log.mu.Lock()
	defer l.log.mu.Unlock()
	if l.now != nil {
		l.now.log = append(l.now.log, p...)
	}
	l.log.append(p)
	return len(p), nil
}

// logLevels are the levels that Lambda knows, the lowest first.
var logLevels = []string{"TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"}

// filteredLog drops what a process writes in lines below a level, as Lambda does
// with the log format JSON.
type filteredLog struct {
	to    *processLog
	least string
	rest  []byte // the start of a line
}

func (f *filteredLog) Write(p []byte) (int, error) {
	f.rest = append(f.rest, p...)
	for {
		line, rest, ended := bytes.Cut(f.rest, []byte("\n"))
		if !ended {
			return len(p), nil
		}
		if slices.Index(logLevels, levelOf(line)) >= slices.Index(logLevels, f.least) {
			_, _ = f.to.Write(append(slices.Clone(line), '\n'))
		}
		f.rest = rest
	}
}

// levelOf is the level of a line: INFO, unless it is JSON and has a level that
// Lambda knows and an RFC 3339 timestamp
// (https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html).
func levelOf(line []byte) string {
	var fields map[string]any // a struct's fields would match keys in any case
	_ = json.Unmarshal(line, &fields)
	timestamp, _ := fields["timestamp"].(string)
	level, _ := fields["level"].(string)
	level = strings.ToUpper(level)
	if _, err := time.Parse(time.RFC3339, timestamp); err != nil || !slices.Contains(logLevels, level) {
		return "INFO"
	}
	return level
}

// append adds to what the function wrote. Its lock is held.
func (l *functionLog) append(p []byte) {
	l.buf = append(l.buf, p...)
	if len(l.buf) > 2*maxLog {
		cut := len(l.buf) - maxLog
		if i := bytes.IndexByte(l.buf[cut:], '\n'); i >= 0 {
			cut += i + 1
		}
		l.buf = append([]byte(nil), l.buf[cut:]...)
	}
}

func (l *functionLog) ended() []Invocation {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []Invocation
	for _, i := range l.invocations {
		if i.over {
			ended := i.Invocation
			ended.Log = string(i.log)
			all = append(all, ended)
		}
	}
	return all
}

func (l *functionLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.buf)
}

// accountSettings are those of an account with Lambda's default quota, of which
// nothing is reserved.
func accountSettings() *response {
	const quota = 1000
	return answerJSON(http.StatusOK, map[string]any{"AccountLimit": map[string]any{"ConcurrentExecutions": quota, "UnreservedConcurrentExecutions": quota}})
}
