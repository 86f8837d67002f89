package sim

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
)

// TestVantages plays what may be between us and a machine, with no peers, with two, and
// with two that are required. No machine is rebooted that other regions reach, or that
// its security groups close; one that is down is rebooted where another place says so.
func TestVantages(t *testing.T) {
	const (
		noPeers, twoPeers, required = "", "peers", "peers required"

		web  = "machine a url ssh\n"
		all  = "machine a url route53 ssh\n"
		down = "at 0:05 set a web=dropped ssh=dropped curable\n"
		hung = "at 0:05 set a web=silent ssh=silent curable\n"
	)
	type want struct {
		reboots int
		says    string // the first page; "" for none
	}
	for _, c := range []struct {
		name, script string
		want         map[string]want
	}{
		{"banned", all + "at 0:05 path a web=dropped ssh=dropped", map[string]want{
			noPeers: {0, "only_here"}, twoPeers: {0, "only_here"}, required: {0, "only_here"},
		}},
		{"banned, without Route 53", web + "at 0:05 path a web=dropped ssh=dropped", map[string]want{
			noPeers: {0, "not_rebooted"}, twoPeers: {0, "only_here"}, required: {0, "only_here"},
		}},
		{"our way accepts and is silent", web + "machine b url ssh\nat 0:05 path a web=silent ssh=silent", map[string]want{
			noPeers:  {1, "down_after_reboot"}, // cannot be told from a machine that hangs
			twoPeers: {0, "only_here"}, required: {0, "only_here"},
		}},
		{"our way to all is broken", web + "machine b url ssh\nat 0:05 path region dropped\nat 0:10 alarm b for 2h", map[string]want{
			noPeers: {0, "held_back"}, twoPeers: {0, "only_here"}, required: {0, "only_here"},
		}},
		{"security groups closed", web + "at 0:05 set a closed", map[string]want{
			noPeers: {0, "attention"}, twoPeers: {0, "attention"}, required: {0, "attention"},
		}},
		{"security groups closed to Route 53, too", all + "at 0:05 set a closed", map[string]want{
			noPeers: {0, "attention"}, twoPeers: {0, "attention"}, required: {0, "attention"},
		}},
		{"security groups closed, and our way accepts", all + "at 0:05 set a closed\nat 0:05 path a web=silent ssh=silent", map[string]want{
			noPeers: {0, "attention"}, twoPeers: {0, "attention"}, required: {0, "attention"},
		}},
		{"down", all + down, map[string]want{noPeers: {1, ""}, twoPeers: {1, ""}, required: {1, ""}}},
		{"down, without Route 53", web + down, map[string]want{
			noPeers: {0, "not_rebooted"}, twoPeers: {1, ""}, required: {1, ""},
		}},
		{"down, at a private address", web + "private a\n" + hung + "machine b url ssh", map[string]want{
			noPeers: {1, ""}, twoPeers: {1, ""}, required: {1, ""},
		}},
		{"down, and Route 53's API", all + down + "at 0:04 out route53 for 3h", map[string]want{
			noPeers: {0, "not_rebooted"}, twoPeers: {1, ""}, required: {1, ""},
		}},
		{"down, and one peer's region", all + down + "at 0:01 out peer:eu-central-1 for 3h", map[string]want{
			noPeers: {1, ""}, twoPeers: {1, ""}, required: {1, ""},
		}},
		{"down, and both probes denied", all + down + "at 0:01 out peer:eu-central-1 for 3h\nat 0:01 out peer:us-east-1 for 3h", map[string]want{
			noPeers: {1, ""}, twoPeers: {1, ""}, required: {0, "not_rebooted"},
		}},
		{"half of the world is cut off", all + "at 0:05 path a web=dropped ssh=dropped\nat 0:05 path peer:us-east-1 dropped", map[string]want{
			noPeers: {0, "only_here"}, twoPeers: {0, "only_here"}, required: {0, "only_here"},
		}},
		{"a peer's own way out is broken", web + hung + "machine b url ssh\nat 0:05 path peer:us-east-1 blind\nat 0:05 path peer:eu-central-1 blind", map[string]want{
			noPeers: {1, ""}, twoPeers: {1, ""}, required: {0, "not_rebooted"},
		}},
		{"banned, and the peers go away", web + "at 0:05 path a web=dropped ssh=dropped\nat 0:20 out peer:eu-central-1 for 10m\nat 0:20 out peer:us-east-1 for 10m", map[string]want{
			noPeers: {0, "not_rebooted"}, twoPeers: {0, "only_here"}, required: {0, "only_here"},
		}},
	} {
		for _, peers := range []string{noPeers, twoPeers, required} {
			t.Run(c.name+"/"+strings.ReplaceAll(peers, " ", "_"), func(t *testing.T) {
				w := c.want[peers]
				script := fmt.Sprintf("%s\n%s\nat 0:10 alarm a for 90m\nexpect reboots = %d\n", peers, c.script, w.reboots)
				if w.says != "" {
					script += "expect page 1 says " + w.says + "\nexpect pages = 1\n"
				} else {
					script += "expect pages = 0\n"
				}
				if w.reboots > 0 && w.says == "" {
					script += "expect irreducible = 0\n"
				}
				t.Parallel()
				synctest.Test(t, func(t *testing.T) { playScene(t, script) })
			})
		}
	}
}
