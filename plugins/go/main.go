// The driver changelog-check: holds the changelog of a release against its version, before it is published.
package main

import (
	"errors"
	"fmt"
	"strings"

	"changelog-check/conveyor"
)

// Spec has the fields of the spec that this driver reads.
type Spec struct {
	Version   string `json:"version"`
	Changelog string `json:"changelog"`
}

func init() { conveyor.Handle(Reconcile) }

// Nothing calls it: the host calls what Handle names.
func main() {}

// Reconcile acts on the resource once. What a changelog says of the version is for the steps that follow.
func Reconcile(request conveyor.Request[Spec], log *conveyor.Log) (conveyor.Result, error) {
	spec := request.Resource.Spec
	if spec.Version == "" || spec.Changelog == "" {
		return conveyor.Result{}, conveyor.Permanent(errors.New("the spec needs both version and changelog"))
	}
	version, err := ParseVersion(spec.Version)
	if err != nil {
		return conveyor.Result{}, conveyor.Permanent(err)
	}
	entries, problems := Read(spec.Changelog)
	problems = append(problems, Check(version, entries)...)
	for _, problem := range problems {
		log.Warn(problem)
	}
	if len(problems) > 0 {
		return conveyor.Result{Message: strings.Join(problems, "; "), Data: map[string]any{"problems": problems}}, nil
	}
	latest := entries[0]
	data := map[string]any{"notes": latest.Notes, "date": latest.Date, "kind": kind(entries), "prerelease": version.Pre != ""}
	return conveyor.Success(fmt.Sprintf("%s is the newest of %d releases", version, len(entries)), data), nil
}

// kind is how much the newest release changes, against the one before it that is no prerelease.
func kind(entries []Entry) string {
	now := entries[0].Version.Numbers
	for _, entry := range entries[1:] {
		before := entry.Version.Numbers
		switch {
		case entry.Version.Pre != "":
			continue
		case now[0] != before[0]:
			return "major"
		case now[1] != before[1]:
			return "minor"
		}
		return "patch"
	}
	return "first"
}
