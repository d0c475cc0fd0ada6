package main

import (
	"slices"
	"strings"
	"testing"

	"changelog-check/conveyor"
)

const changelog = `# Changelog

## [Unreleased]

- a plan

## [1.2.0] - 2026-11-25

### Added

- belts

## v1.2.0-rc.1 (2026-11-20)

- belts, to be tried

## 1.1.9

- repairs
`

func reconcile(version, text string) (conveyor.Result, error) {
	resource := conveyor.Resource[Spec]{Spec: Spec{Version: version, Changelog: text}}
	return Reconcile(conveyor.Request[Spec]{Resource: resource}, new(conveyor.Log))
}

func TestAChangelogThatIsInOrder(t *testing.T) {
	result, err := reconcile("v1.2.0", changelog)
	if err != nil || !result.Success || result.Message != "1.2.0 is the newest of 3 releases" {
		t.Fatal(result, err)
	}
	data := result.Data.(map[string]any)
	if data["notes"] != "### Added\n\n- belts" || data["date"] != "2026-11-25" || data["kind"] != "minor" {
		t.Fatal(data)
	}
}

func TestWhatIsWrongIsNamed(t *testing.T) {
	for text, problem := range map[string]string{
		"# Changelog\n":              "no release",
		"## 1.1.0\n\n- a\n":          "is 1.1.0, not 1.2.0",
		"## 1.2.0\n\n## 1.1.0\n":     "says nothing of 1.2.0",
		"## 1.2.0\na\n## 1.3.0\nb\n": "line 3 of the changelog: 1.3.0 does not come before 1.2.0",
		"## 1.2.0 - 2026-01-01\na\n## 1.1.0 - 2026-02-01\nb\n": "1.1.0 is of a later day",
		"## 1.2.0 - 2026-13-01\na\n":                           "\"2026-13-01\" is no date",
		"## 1.02.0\na\n":                                       "\"1.02.0\" is no version",
		"## next of all things\na\n":                           "line 1 of the changelog is no heading",
	} {
		result, err := reconcile("1.2.0", text)
		if err != nil || result.Success || !strings.Contains(result.Message, problem) {
			t.Errorf("%q: %v %v", text, result, err)
		}
	}
	if _, err := reconcile("one", changelog); err == nil {
		t.Error("\"one\" is a version")
	}
	if _, err := reconcile("", changelog); err == nil {
		t.Error("it needs no version")
	}
}

func TestVersionsAreInTheOrderOfTheStandard(t *testing.T) {
	ordered := strings.Fields("1.0.0-alpha 1.0.0-alpha.1 1.0.0-alpha.beta 1.0.0-beta 1.0.0-beta.2 1.0.0-beta.11 1.0.0-rc.1 1.0.0 1.0.1 1.2.0 10.0.0")
	for index, text := range ordered {
		version, err := ParseVersion(text)
		if err != nil {
			t.Fatal(err)
		}
		for other, text := range ordered {
			against, _ := ParseVersion(text)
			if got := version.Compare(against); got != slices.Compare([]int{index}, []int{other}) {
				t.Errorf("%s against %s: %d", version, against, got)
			}
		}
	}
}
