package main

import (
	"archive/zip"
	"bytes"
	"cmp"
	"context"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
)

// function reads what the function in a zip was built from.
func (r *release) function(path string) error {
	archive, err := zip.OpenReader(path)
	if err != nil {
		return err
	}
	defer func() { _ = archive.Close() }()
	program, err := archive.Open("bootstrap")
	if err != nil {
		return err
	}
	binary, err := io.ReadAll(program)
	if err != nil {
		return err
	}
	r.built["the function"], err = buildinfo.Read(bytes.NewReader(binary))
	return err
}

// component is one of CycloneDX (https://cyclonedx.org/docs/1.6/json/).
type component struct {
	Type       string     `json:"type"`
	Ref        string     `json:"bom-ref"`
	Name       string     `json:"name"`
	Version    string     `json:"version"`
	PURL       string     `json:"purl"`
	Properties []property `json:"properties,omitempty"`
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// newComponent makes one of a Go module
// (https://github.com/package-url/purl-spec/blob/main/types-doc/golang-definition.md).
func newComponent(kind, module, version string) component {
	purl := "pkg:golang/" + strings.ToLower(module) + "@" + url.QueryEscape(version)
	return component{Type: kind, Ref: purl, Name: module, Version: version, PURL: purl}
}

// bill is the bill of materials of programs, by name: the modules that the linker
// has put in, and the standard library. It has neither a time nor a serial number,
// so that its bytes are always the same.
func bill(version string, programs map[string]*debug.BuildInfo) ([]byte, error) {
	parts := map[string]*component{}
	for _, program := range slices.Sorted(maps.Keys(programs)) {
		info := programs[program]
		modules := []debug.Module{{Path: "std", Version: strings.TrimPrefix(info.GoVersion, "go")}}
		for _, m := range info.Deps {
			modules = append(modules, *cmp.Or(m.Replace, m))
		}
		for _, m := range modules {
			c := newComponent("library", m.Path, m.Version)
			part, known := parts[c.Ref]
			if !known {
				part = &c
				parts[c.Ref] = part
				if m.Sum != "" {
					part.Properties = append(part.Properties, property{"go.sum", m.Sum})
				}
			}
			part.Properties = append(part.Properties, property{"part of", program})
		}
	}
	if len(parts) < 2 {
		return nil, errors.New("bill of materials: the programs name no modules")
	}
	all := []component{}
	for _, ref := range slices.Sorted(maps.Keys(parts)) {
		all = append(all, *parts[ref])
	}
	text, err := json.MarshalIndent(map[string]any{
		"$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json", "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
		"metadata":   map[string]any{"component": newComponent("application", "firstline", version)},
		"components": all,
	}, "", "  ")
	return append(text, '\n'), err
}

func (r *release) materials(context.Context) error {
	text, err := bill(r.version, r.built)
	if err != nil {
		return err
	}
	return r.write(fmt.Sprintf("firstline_%s_sbom.cdx.json", r.version), text)
}
