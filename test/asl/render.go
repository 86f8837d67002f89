package asl

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Dir is where the project has its definition and its retry policy.
const Dir = "terraform/modules/workflow"

// Names of the files in Dir.
const (
	DefinitionFile = "responder.asl.json"
	RetryFile      = "retry.json"
)

// Placeholder is what Terraform replaces in the definition.
const Placeholder = "${function_arn}"

// Vars are what Terraform puts into the definition.
type Vars struct {
	FunctionARN string
	// Partition is "aws" where it is empty.
	Partition string
	// TimeoutSeconds bounds an execution; 0 leaves it unbounded.
	TimeoutSeconds int
}

// Render reads the definition of the project in root and completes it as
// terraform/modules/workflow/main.tf does.
func Render(root string, v Vars) ([]byte, error) {
	dir := filepath.Join(root, filepath.FromSlash(Dir))
	definition, err := os.ReadFile(filepath.Join(dir, DefinitionFile)) //nolint:gosec // the project's own file
	if err != nil {
		return nil, err
	}
	retry, err := os.ReadFile(filepath.Join(dir, RetryFile)) //nolint:gosec // the project's own file
	if err != nil {
		return nil, err
	}
	return Merge(definition, retry, v)
}

// Merge completes a definition: it replaces the placeholder, sets the
// partition and the execution's time-out, and gives the retry policy to each
// Task that has none of its own.
func Merge(definition, retry []byte, v Vars) ([]byte, error) {
	var machine map[string]any
	if err := json.Unmarshal([]byte(strings.ReplaceAll(string(definition), Placeholder, v.FunctionARN)), &machine); err != nil {
		return nil, fmt.Errorf("definition: %w", err)
	}
	var policy any
	if err := json.Unmarshal(retry, &policy); err != nil {
		return nil, fmt.Errorf("retry policy: %w", err)
	}
	states, _ := machine["States"].(map[string]any)
	for _, s := range states {
		state, _ := s.(map[string]any)
		if state["Type"] != "Task" {
			continue
		}
		if _, own := state["Retry"]; !own {
			state["Retry"] = policy
		}
		if resource, ok := state["Resource"].(string); ok && v.Partition != "" {
			state["Resource"] = strings.Replace(resource, "arn:aws:", "arn:"+v.Partition+":", 1)
		}
	}
	if v.TimeoutSeconds != 0 {
		machine["TimeoutSeconds"] = v.TimeoutSeconds
	}
	return json.Marshal(machine)
}
