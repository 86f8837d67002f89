// Package peers holds the checks against servers that behave badly: one table of
// situations, each with what the check must say of it, and what the policy does
// with that. Go peers replay what real servers do; with -peers.real the same table
// runs against nginx, Apache, HAProxy, OpenSSH and Dropbear, where they are
// installed. Everything is in its tests; checks/README.md says how to run it.
package peers
