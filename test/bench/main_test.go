package main

import (
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestChoose(t *testing.T) {
	all := []benchmark{&function{}, &growth{}}
	for _, tt := range []struct {
		only string
		want []string
		err  string
	}{
		{"", []string{"function", "growth"}, ""},
		{"growth", []string{"growth"}, ""},
		{"growth, function", []string{"function", "growth"}, ""},
		{"function,none", nil, `-only: there is no benchmark "none"; use function, growth`},
		{",", nil, `-only: there is no benchmark ""; use function, growth`},
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
