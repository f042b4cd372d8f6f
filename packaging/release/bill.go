package main

import (
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/google/uuid"
)

// These are of CycloneDX 1.6, https://cyclonedx.org/docs/1.6/json/.
type (
	billOfMaterials struct {
		Format       string         `json:"bomFormat"`
		SpecVersion  string         `json:"specVersion"`
		Serial       string         `json:"serialNumber"`
		Version      int            `json:"version"`
		Metadata     metadata       `json:"metadata"`
		Components   []component    `json:"components"`
		Dependencies []dependencies `json:"dependencies"`
	}
	metadata struct {
		Timestamp string    `json:"timestamp"`
		Component component `json:"component"`
	}
	component struct {
		Ref        string     `json:"bom-ref"`
		Type       string     `json:"type"`
		Name       string     `json:"name"`
		Version    string     `json:"version"`
		Hashes     []hash     `json:"hashes,omitempty"`
		PURL       string     `json:"purl"`
		Properties []property `json:"properties,omitempty"`
	}
	hash struct {
		Algorithm string `json:"alg"`
		Content   string `json:"content"`
	}
	property struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
	dependencies struct {
		Ref string   `json:"ref"`
		On  []string `json:"dependsOn"`
	}
)

// bill writes the bill of materials of the program for a platform: the modules that Go's linker noted in it.
func (r release) bill(p platform) error {
	info, err := buildinfo.ReadFile(r.program(p))
	if err != nil {
		return err
	}
	sum, err := sumOf(r.program(p))
	if err != nil {
		return err
	}
	out, err := json.MarshalIndent(billOf(r.version, p, r.date, info, sum), "", "  ")
	if err != nil {
		return err
	}
	name := fmt.Sprintf("skiff_%s_%s.cdx.json", r.version, p)
	return os.WriteFile(filepath.Join(r.out, name), append(out, '\n'), 0o644) //nolint:gosec // it is for everybody
}

func billOf(version string, p platform, date time.Time, info *debug.BuildInfo, sum string) billOfMaterials {
	self := component{
		Type: "application", Name: "skiff", Version: version, PURL: "pkg:golang/" + info.Main.Path + "@" + version + "?goos=" + p.os + "&goarch=" + p.arch + "#cmd/skiff",
		Hashes: []hash{{"SHA-256", sum}},
	}
	self.Ref = self.PURL
	bill := billOfMaterials{
		Format: "CycloneDX", SpecVersion: "1.6", Version: 1,
		Serial:   "urn:uuid:" + uuid.NewSHA1(uuid.NameSpaceURL, []byte(self.PURL+" "+sum)).String(),
		Metadata: metadata{Timestamp: date.Format(time.RFC3339), Component: self},
	}
	library := func(path, version, sum string) {
		one := component{Type: "library", Name: path, Version: version, PURL: "pkg:golang/" + path + "@" + version}
		one.Ref = one.PURL
		if sum != "" { // of the module's files, as go.sum has it
			one.Properties = []property{{"go:sum", sum}}
		}
		bill.Components = append(bill.Components, one)
	}
	library("std", info.GoVersion, "")
	for _, module := range info.Deps {
		if module.Replace != nil {
			module = module.Replace
		}
		if module.Version == "" { // a folder of the checkout stands in for it, which is a part of skiff
			continue
		}
		library(module.Path, module.Version, module.Sum)
	}
	on := make([]string, len(bill.Components))
	for i, one := range bill.Components {
		on[i] = one.Ref
	}
	bill.Dependencies = []dependencies{{self.Ref, on}}
	return bill
}
