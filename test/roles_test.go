package test

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// TestEveryRoleHasPathAndBoundary reads every resource of IAM in the Terraform tree:
// an account that demands a path or a permissions boundary refuses a role without it.
func TestEveryRoleHasPathAndBoundary(t *testing.T) {
	want := map[string][]string{
		"aws_iam_role":                   {"path", "permissions_boundary"},
		"aws_iam_policy":                 {"path"},
		"aws_iam_role_policy":            nil,
		"aws_iam_role_policy_attachment": nil,
	}
	found := map[string]int{}
	for _, pattern := range []string{"*.tf", "modules/*/*.tf"} {
		files, err := filepath.Glob(filepath.Join(root(t), "terraform", pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			parsed, diags := hclparse.NewParser().ParseHCLFile(file)
			if diags.HasErrors() {
				t.Fatal(diags)
			}
			for _, block := range parsed.Body.(*hclsyntax.Body).Blocks {
				if block.Type != "resource" || !strings.HasPrefix(block.Labels[0], "aws_iam_") {
					continue
				}
				attributes, ok := want[block.Labels[0]]
				if !ok {
					t.Errorf("%s: is there a path or a boundary for %s? Use them, and name it here", file, block.Labels[0])
				}
				found[block.Labels[0]]++
				for _, name := range attributes {
					if a := block.Body.Attributes[name]; a == nil || expression(parsed, a.Expr) != "var.roles."+name {
						t.Errorf("%s: %s lacks %s = var.roles.%s", file, strings.Join(block.Labels, "."), name, name)
					}
				}
			}
		}
	}
	if found["aws_iam_role"] < 3 || found["aws_iam_policy"] < 1 {
		t.Errorf("it found %v (%q): it reads nothing", found, slices.Sorted(maps.Keys(found)))
	}
}

// expression is an expression as the file has it.
func expression(file *hcl.File, e hcl.Expression) string {
	return string(e.Range().SliceBytes(file.Bytes))
}
