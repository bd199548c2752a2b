package node

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/estop-project/estop/detector"
)

// LiveDetectors loads the detectors that the node runs from the files of this configuration, without canaries. It asks
// the node which versions it runs, and fails where the files are others. Where no node can be asked, note says why
// the files are taken for them.
func (c Config) LiveDetectors(ctx context.Context) (set *detector.Set, note string, err error) {
	set, errs := detector.Load(c.DetectorFiles())
	if err := errs.Err(); err != nil {
		return nil, "", fmt.Errorf("the files of this configuration are not what a node runs: %w", err)
	}
	set = set.Live()
	running, err := c.RunningDetectors(ctx)
	if err != nil {
		return nil, "", fmt.Errorf("%w: %s does not say which detectors the node runs (http.addr names it; empty: it is not asked): %w", ErrNoNode, c.HTTP.Addr, err)
	}
	if running == nil {
		return set, "no node was asked which detectors it runs, for http.addr is not set", nil
	}
	if len(running.Running) == 0 {
		return set, fmt.Sprintf("the node at %s runs no detectors, so it was not asked which", c.HTTP.Addr), nil
	}
	if others := otherVersions(set, running.Running); len(others) > 0 {
		return nil, "", fmt.Errorf("the files of this configuration are not the detectors that the node at %s runs: %s; "+
			"wait until it has loaded them, give its configuration (--config, ESTOP_DETECTORS_DIR), or name a folder: --against PATH", c.HTTP.Addr, someOf(others))
	}
	return set, "", nil
}

// otherVersions says which detectors of a set are not those that run: first those of which another version does.
func otherVersions(set *detector.Set, running []RunningDetector) []string {
	runs := map[string]RunningDetector{}
	for _, r := range running {
		if !r.Canary {
			runs[r.ID] = r
		}
	}
	var edited, added, missing []string
	for i, d := range set.Plan.Detectors {
		r, ok := runs[d.ID]
		delete(runs, d.ID)
		switch file := set.Sources[i].File; {
		case !ok:
			added = append(added, fmt.Sprintf("%s stands in %s and does not run there", d.ID, file))
		case r.Version != d.Version:
			edited = append(edited, fmt.Sprintf("%s in %s is version %s, there %s runs", d.ID, file, d.Version, r.Version))
		}
	}
	for _, id := range slices.Sorted(maps.Keys(runs)) {
		missing = append(missing, fmt.Sprintf("%s runs there from %s and stands in no file here", id, runs[id].File))
	}
	return slices.Concat(edited, added, missing)
}

// someOf lists the first few.
func someOf(all []string) string {
	const most = 5
	if len(all) > most {
		all = append(slices.Clone(all[:most]), fmt.Sprintf("and %d more", len(all)-most))
	}
	return strings.Join(all, "; ")
}
