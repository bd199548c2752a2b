package detector

import (
	"path"
	"slices"
	"strings"
)

// canaryFolder is the folder whose detectors run as canaries. A folder and not a key, so that what goes live
// is to the byte what was tried, with the same version: promotion is to move the file.
const canaryFolder = "canary"

// inCanary says whether a file lies in a folder of canaries.
func inCanary(file string) bool {
	return slices.Contains(strings.Split(path.Dir(file), "/"), canaryFolder)
}

// besides returns the folders in which the lists of a detector file may lie: its own and, for a canary, the one
// that its file is to move to, so that it reads the same lists as the live detector unless it brings its own.
func besides(file string) []string {
	dir := path.Dir(file)
	if !inCanary(file) {
		return []string{dir}
	}
	parts := strings.Split(dir, "/")
	i := slices.Index(parts, canaryFolder)
	return []string{dir, path.Join(slices.Delete(parts, i, i+1)...)}
}

// Key names the detector in its set: two of one ID are the live one and its canary.
func (c *Compiled) Key() string { return key(c.Canary, c.ID) }

func key(canary bool, id string) string {
	if canary {
		return canaryFolder + "/" + id
	}
	return id
}

// Text returns what stands in the file of detector i, as its version hashes it: without its lists.
func (s *Set) Text(i int) string { return s.drafts[i].text }

// Live returns the set without its canaries.
func (s *Set) Live() *Set {
	live := slices.DeleteFunc(slices.Clone(s.drafts), func(d *draft) bool { return d.Canary })
	if len(live) == len(s.drafts) {
		return s
	}
	return newSet(live)
}
