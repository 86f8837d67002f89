package main

import (
	"io"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestChoose(t *testing.T) {
	all := []benchmark{&growth{}, &rollout{}}
	for _, tt := range []struct {
		only string
		want []string
		err  string
	}{
		{"", []string{"growth", "rollout"}, ""},
		{"rollout", []string{"rollout"}, ""},
		{"rollout, growth", []string{"growth", "rollout"}, ""},
		{"growth,none", nil, `-only: there is no benchmark "none"; use growth, rollout`},
		{",", nil, `-only: there is no benchmark ""; use growth, rollout`},
	} {
		t.Run(tt.only, func(t *testing.T) {
			chosen, err := choose(all, tt.only)
			var got []string
			for _, b := range chosen {
				got = append(got, b.name())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" || errorText(err) != tt.err {
				t.Errorf("%v\n%s", err, diff)
			}
		})
	}
}

// The README's markers and the keys of the ratios are made of the names.
func TestNamesOfBenchmarks(t *testing.T) {
	seen := map[string]bool{}
	for _, b := range benchmarks() {
		name := b.name()
		if !regexp.MustCompile(`^[a-z0-9]+$`).MatchString(name) || name == "start" || name == "end" || seen[name] {
			t.Errorf("%q: wanted are small letters, each name once, and neither start nor end", name)
		}
		seen[name] = true
	}
}

func TestRunRefuses(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"-only nothing", `there is no benchmark "nothing"`},
		{"-update", "-update goes with -check"},
		{"more", `"more" is not a flag`},
	} {
		t.Run(tt.args, func(t *testing.T) {
			if err := run(t.Context(), strings.Fields(tt.args), io.Discard, io.Discard); !strings.Contains(errorText(err), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
