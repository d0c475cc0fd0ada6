package main

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Version is one of Semantic Versioning 2.0.0.
type Version struct {
	Numbers [3]uint64
	// Pre is empty in a release.
	Pre  string
	text string
}

var pattern = regexp.MustCompile(`^v?(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?$`)

// ParseVersion reads a version, with or without a v before it.
func ParseVersion(text string) (Version, error) {
	parts := pattern.FindStringSubmatch(text)
	if parts == nil {
		return Version{}, fmt.Errorf("%q is no version like 1.2.3 or 1.2.3-rc.1", text)
	}
	version := Version{Pre: parts[4], text: strings.TrimPrefix(text, "v")}
	for index := range version.Numbers {
		number, err := strconv.ParseUint(parts[index+1], 10, 64)
		if err != nil {
			return Version{}, fmt.Errorf("%q has a number that is too large", text)
		}
		version.Numbers[index] = number
	}
	return version, nil
}

func (v Version) String() string { return v.text }

// Compare is negative if the version comes before the other one.
func (v Version) Compare(other Version) int {
	if order := slices.Compare(v.Numbers[:], other.Numbers[:]); order != 0 {
		return order
	}
	switch {
	case v.Pre == other.Pre:
		return 0
	case v.Pre == "":
		return 1
	case other.Pre == "":
		return -1
	}
	return slices.CompareFunc(strings.Split(v.Pre, "."), strings.Split(other.Pre, "."), comparePart)
}

// comparePart orders parts of a prerelease: numbers by value and before words.
func comparePart(a, b string) int {
	left, leftErr := strconv.ParseUint(a, 10, 64)
	right, rightErr := strconv.ParseUint(b, 10, 64)
	switch {
	case leftErr == nil && rightErr == nil:
		return cmp.Compare(left, right)
	case leftErr == nil:
		return -1
	case rightErr == nil:
		return 1
	}
	return strings.Compare(a, b)
}
