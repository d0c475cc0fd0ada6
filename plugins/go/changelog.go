package main

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

// Entry is what a changelog says of one release.
type Entry struct {
	Version Version
	// Date is empty if there is none.
	Date  string
	Notes string
	line  int
}

var heading = regexp.MustCompile(`^## +\[?([^\]\s]+)\]?(?: +[-–—(] *(\S+?)\)?)?\s*$`)

// Read gives the releases of a changelog in Markdown, in which each has a heading like "## [1.2.3] - 2026-11-25", and what
// is wrong with single ones. What is not released yet is left out.
func Read(changelog string) (entries []Entry, problems []string) {
	var notes *strings.Builder
	keep := func() {
		if notes != nil && len(entries) > 0 {
			entries[len(entries)-1].Notes = strings.TrimSpace(notes.String())
		}
		notes = nil
	}
	for index, line := range strings.Split(changelog, "\n") {
		if !strings.HasPrefix(line, "## ") {
			if notes != nil {
				notes.WriteString(line + "\n")
			}
			continue
		}
		keep()
		entry, err := readHeading(line, index+1)
		switch {
		case err != nil:
			problems = append(problems, err.Error())
		case entry != nil:
			entries = append(entries, *entry)
			notes = new(strings.Builder)
		}
	}
	keep()
	return entries, problems
}

func readHeading(line string, number int) (*Entry, error) {
	parts := heading.FindStringSubmatch(line)
	if parts != nil && strings.EqualFold(parts[1], "unreleased") {
		return nil, nil
	}
	if parts == nil {
		return nil, fmt.Errorf("line %d of the changelog is no heading like \"## [1.2.3] - 2026-11-25\"", number)
	}
	version, err := ParseVersion(parts[1])
	if err != nil {
		return nil, fmt.Errorf("line %d of the changelog: %w", number, err)
	}
	if _, err := time.Parse(time.DateOnly, parts[2]); parts[2] != "" && err != nil {
		return nil, fmt.Errorf("line %d of the changelog: %q is no date like 2026-11-25", number, parts[2])
	}
	return &Entry{Version: version, Date: parts[2], line: number}, nil
}

// Check holds the releases against the version that is to be released.
func Check(version Version, entries []Entry) (problems []string) {
	if len(entries) == 0 {
		return []string{"the changelog has no release"}
	}
	latest := entries[0]
	if order := latest.Version.Compare(version); order != 0 {
		problems = append(problems, fmt.Sprintf("the newest release of the changelog is %s, not %s", latest.Version, version))
	}
	if latest.Notes == "" {
		problems = append(problems, fmt.Sprintf("the changelog says nothing of %s", latest.Version))
	}
	for index, entry := range entries[1:] {
		newer := entries[index]
		if newer.Version.Compare(entry.Version) <= 0 {
			text := "line %d of the changelog: %s does not come before %s, which stands above it"
			problems = append(problems, fmt.Sprintf(text, entry.line, entry.Version, newer.Version))
		}
		// Dates of this form are in the order of their texts.
		if newer.Date != "" && entry.Date > newer.Date {
			text := "line %d of the changelog: %s is of a later day than %s"
			problems = append(problems, fmt.Sprintf(text, entry.line, entry.Version, newer.Version))
		}
	}
	return problems
}
