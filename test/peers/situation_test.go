package peers

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"firstline/checks"
	"firstline/internal/incident"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

const instance = "i-0c1cbf2e7abdedf75"

// situation is one thing that a server, a network or a name does to a check.
type situation struct {
	name string
	// check is the check that meets it, and set its settings as JSON without the
	// braces; see here.fill.
	check, set string
	// peer replays what the real servers do.
	peer peer
	real []server
	// own are the instance's addresses; nil: the peer's.
	own []string
	// isolated: it needs the network namespace; see isolate.
	isolated bool
	// egress proves our own connectivity; nil: it is not asked.
	egress checks.Egress
	// within bounds the check; 0: a minute.
	within time.Duration
	// ask asks in another way than the check of that name.
	ask func(ctx context.Context, t *testing.T) incident.Finding
	// connections is how many the check may make; 0: any number. Where the check
	// passes and learns the type of the pinned host key, that is of a second look,
	// which knows it.
	connections int32
	want        wanted
	// says are words that the reason must have, and never those that it must not.
	says, never []string
	// known says why the policy reboots a healthy machine in this situation where
	// nothing tells it from a dead one; the documentation says so, too.
	known string
}

// row is a class of situations: a row of the table in checks/README.md.
type row struct {
	name       string
	situations []situation
}

// here is where a peer listens.
type here struct {
	host string
	port int
	dir  string
	// connections are those that were made.
	connections atomic.Int32
}

// fill replaces $HOST, $PORT, $DIR and the fingerprints of the host keys $ED25519,
// $ECDSA and $RSA.
func (h *here) fill(text string) string {
	return os.Expand(text, func(name string) string {
		switch name {
		case "HOST":
			return h.host
		case "PORT":
			return strconv.Itoa(h.port)
		case "DIR":
			return h.dir
		case "ED25519", "ECDSA", "RSA":
			return fingerprint(name)
		}
		return "$" + name
	})
}

// settings are quick ones, as the situation changes them.
func (s *situation) settings(t *testing.T, h *here) incident.Settings {
	t.Helper()
	all := incident.DefaultSettings()
	all.URL.Port, all.SSH.Port = h.port, h.port
	all.URL.Attempts, all.SSH.Attempts, all.Route53.Attempts = 2, 2, 2
	all.URL.TimeoutSeconds, all.SSH.TimeoutSeconds = 10, 10
	all.URL.IntervalSeconds, all.SSH.IntervalSeconds, all.Route53.IntervalSeconds = 0.01, 0.01, 0.01
	if err := json.Unmarshal([]byte(h.fill(`{"`+s.check+`": {`+s.set+`}}`)), &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// ec2s is EC2 with one running instance.
func ec2s(addresses ...string) checks.DescribeInstances {
	i := types.Instance{InstanceId: new(instance), State: &types.InstanceState{Name: types.InstanceStateNameRunning}, PublicIpAddress: &addresses[0]}
	for n := range addresses {
		if strings.Contains(addresses[n], ":") {
			i.NetworkInterfaces = append(i.NetworkInterfaces, types.InstanceNetworkInterface{Ipv6Addresses: []types.InstanceIpv6Address{{Ipv6Address: &addresses[n]}}})
			continue
		}
		i.NetworkInterfaces = append(i.NetworkInterfaces, types.InstanceNetworkInterface{PrivateIpAddresses: []types.InstancePrivateIpAddress{{PrivateIpAddress: &addresses[n]}}})
	}
	return func(context.Context, *ec2.DescribeInstancesInput, ...func(*ec2.Options)) (*ec2.DescribeInstancesOutput, error) {
		return &ec2.DescribeInstancesOutput{Reservations: []types.Reservation{{Instances: []types.Instance{i}}}}, nil
	}
}

// look runs the check once.
func (s *situation) look(t *testing.T, h *here, settings incident.Settings, keyType string) incident.Finding {
	t.Helper()
	within := s.within
	if within == 0 {
		within = time.Minute
	}
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	own := s.own
	if own == nil {
		own = []string{h.host}
	}
	v := &checks.Vantage{
		DescribeInstances: ec2s(own...),
		Secret:            func(context.Context, string) (string, error) { return "a-secret", nil },
		Egress:            s.egress,
	}
	switch {
	case s.ask != nil:
		return s.ask(ctx, t)
	case s.check == incident.CheckSSH:
		return v.SSH(ctx, instance, settings.SSH, keyType)
	}
	return v.URL(ctx, instance, settings.URL)
}

// result is what came of a situation with one peer.
type result struct {
	row  string
	s    situation
	peer string
	f    incident.Finding
	took time.Duration
	then [rests]string
	// wrong is what is not as wanted; skipped says why there was no look.
	wrong   []string
	skipped string
	// unwanted counts the rests of the world in which the policy reboots though the
	// table does not want it; known counts reboots of a healthy machine that are
	// documented.
	unwanted, known int
}

// judge compares the finding, and what the policy does with it, with the table.
func (r *result) judge(settings incident.Settings) {
	w, f := r.s.want(r.s.check), r.f
	note := func(got, want string) {
		if got != want {
			r.wrong = append(r.wrong, fmt.Sprintf("%s, want %s", got, want))
		}
	}
	seen := func(o incident.Outcome, k incident.Kind, c incident.Connection, answered, elsewhere bool) string {
		text := strings.TrimSpace(string(o) + " " + string(k))
		if c != "" {
			text += ", connection " + string(c)
		}
		if answered {
			text += ", answered"
		}
		if elsewhere {
			text += ", elsewhere"
		}
		return text
	}
	note(seen(f.Outcome, f.Kind, f.Connection, f.Answered, f.Elsewhere), seen(w.outcome, w.kind, w.connection, w.answered, w.elsewhere))
	for _, words := range r.s.says {
		if !strings.Contains(f.Reason, words) {
			r.wrong = append(r.wrong, fmt.Sprintf("the reason does not say %q", words))
		}
	}
	for _, words := range r.s.never {
		if strings.Contains(f.Reason, words) {
			r.wrong = append(r.wrong, fmt.Sprintf("the reason says %q", words))
		}
	}
	for rest := range rests {
		if r.s.check == incident.CheckRoute53 && rest >= route53Passes {
			break
		}
		r.then[rest] = rest.then(f, settings)
		switch isReboot := r.then[rest] == reboot; {
		case isReboot && w.then[rest] != reboot:
			r.unwanted++
			r.wrong = append(r.wrong, restNames[rest]+": an unwanted reboot")
		case isReboot && r.s.known != "":
			r.known++
		case w.then[rest] != anything && !isReboot:
			if r.then[rest] != w.then[rest] {
				r.wrong = append(r.wrong, fmt.Sprintf("%s: %s, want %s", restNames[rest], r.then[rest], w.then[rest]))
			}
		}
	}
}

// budget is how long the check may take; checks/README.md has the sum. EC2 and SSM
// answer at once here.
func (s *situation) budget(settings incident.Settings) time.Duration {
	const slack, egress = 1, 3
	attempts, timeout, interval := settings.URL.Attempts, settings.URL.TimeoutSeconds, settings.URL.IntervalSeconds
	if s.check == incident.CheckSSH {
		attempts, timeout, interval = settings.SSH.Attempts, settings.SSH.TimeoutSeconds, settings.SSH.IntervalSeconds
	}
	sum := float64(attempts)*timeout + float64(attempts-1)*interval + slack + egress
	return time.Duration(sum * float64(time.Second))
}

// play meets the situation with one peer. Its name is "go", or the server's.
func (s *situation) play(t *testing.T, row, name string, start func(t *testing.T, h *here)) *result {
	t.Helper()
	h := &here{host: "127.0.0.1", dir: folder(t)}
	start(t, h)
	settings := s.settings(t, h)
	r := &result{row: row, s: *s, peer: name}
	began := time.Now()
	r.f = s.look(t, h, settings, "")
	r.took = time.Since(began)
	if known := r.f.HostKeyType; known != "" && s.connections > 0 {
		h.connections.Store(0)
		r.f = s.look(t, h, settings, known)
	}
	r.judge(settings)
	if n := h.connections.Load(); s.connections > 0 && n > s.connections {
		r.wrong = append(r.wrong, fmt.Sprintf("%d connections, want %d", n, s.connections))
	}
	if budget := s.budget(settings); r.took > budget {
		r.wrong = append(r.wrong, fmt.Sprintf("took %v, and its settings allow %v", r.took, budget))
	}
	if len(r.wrong) > 0 && *table {
		t.Fail() // the table has the reasons
	} else if len(r.wrong) > 0 {
		t.Errorf("%s\n%s", strings.Join(r.wrong, "\n"), r.f.Reason)
	}
	return r
}

// report gathers the results in the order of the table.
type report struct {
	mu      sync.Mutex
	results []*result
}

// slot is the place of the next result.
func (r *report) slot() int {
	r.results = append(r.results, nil)
	return len(r.results) - 1
}

func (r *report) add(slot int, result *result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.results[slot] = result
}

func TestPeers(t *testing.T) {
	var r report
	t.Run("table", func(t *testing.T) {
		for _, row := range rows {
			for n := range row.situations {
				row.situations[n].run(t, row.name, &r)
			}
		}
	})
	if *table {
		if err := r.print(os.Stdout); err != nil {
			t.Error(err)
		}
	}
}

// run meets the situation with the Go peer, and with the real servers.
func (s *situation) run(t *testing.T, row string, r *report) {
	title := strings.ReplaceAll(s.check+" "+s.name, "/", "|")
	if s.peer != nil {
		slot := r.slot()
		t.Run(title+" [go]", func(t *testing.T) {
			t.Parallel()
			if why := whyNoNamespace(); s.isolated && (why != "" || !*real) {
				r.add(slot, &result{row: row, s: *s, peer: "go", skipped: why})
				t.Skip(why)
			}
			r.add(slot, s.play(t, row, "go", s.peer))
		})
	}
	if !*real {
		return
	}
	for _, server := range s.real {
		slot := r.slot()
		t.Run(fmt.Sprintf("%s [%s]", title, server.binary), func(t *testing.T) {
			t.Parallel()
			version, why := server.version()
			if why != "" {
				r.add(slot, &result{row: row, s: *s, peer: server.binary, skipped: why})
				t.Skip(why)
			}
			r.add(slot, s.play(t, row, version, server.start))
		})
	}
}
