package check

import "slices"

// detections holds what was detected against the reference: the same ids, and the same in them.
func (v *violations) detections(h *History) {
	want := byID(h.Reference)
	got := byID(h.Detections)
	for _, d := range h.Reference {
		if _, ok := got[d.ID]; !ok {
			v.add(NotDetected, d.ID, "%s was broken by call %s at %v", d.Detector, d.Call, d.At)
		}
	}
	for _, d := range h.Detections {
		r, ok := want[d.ID]
		if !ok {
			v.add(NoBreach, d.ID, "%s is said to be broken by call %s at %v (%s)", d.Detector, d.Call, d.At, d.Reason)
			continue
		}
		if d.Revocation = ""; d != r {
			v.add(Altered, d.ID, "it is %+v, in the reference %+v", d, r)
		}
	}
}

func byID(all []Detection) map[string]Detection {
	m := make(map[string]Detection, len(all))
	for _, d := range all {
		m[d.ID] = d
	}
	return m
}

// revocations holds what was revoked against the reference. The first breach of each target must have its revocation;
// later ones may: where what is in force stops the target as hard, nothing is sent.
func (v *violations) revocations(h *History) {
	want := byID(h.Reference)
	sent, stored := map[string]bool{}, map[string]bool{}
	for _, r := range h.Revocations {
		sent[r.ID] = true
		v.stands(want, "the topic", r)
	}
	targets := map[string]bool{}
	for _, s := range h.Stored {
		stored[s.ID], targets[s.Target] = true, true
		v.stands(want, "the stream", Revocation{s.ID, s.Target})
	}
	for _, d := range h.Detections {
		if d.Revocation != "" && !sent[d.Revocation] {
			v.add(NotRevoked, d.ID, "the detection names revocation %s, which the topic does not have", d.Revocation)
		}
	}
	for _, d := range firsts(h.Reference) {
		if !sent[d.ID] {
			v.add(NotRevoked, d.Target, "%s was broken by call %s at %v; no revocation has the id %s", d.Detector, d.Call, d.At, d.ID)
		}
		if !targets[d.Target] {
			v.add(NotStored, d.Target, "%s was broken by call %s at %v; the stream holds nothing about the target", d.Detector, d.Call, d.At)
		}
	}
}

// stands reports a revocation that stands for no breach, or stops another one than it should.
func (v *violations) stands(want map[string]Detection, where string, r Revocation) {
	d, ok := want[r.ID]
	switch {
	case !ok || d.Target == "":
		v.add(WrongID, r.Target, "%s has revocation %s, and no breach has that id", where, r.ID)
	case d.Target != r.Target:
		v.add(WrongTarget, r.Target, "%s has revocation %s, whose breach stops %s", where, r.ID, d.Target)
	}
}

// firsts returns the first breach of each target, by its place in the log. Breaches of one target are of one
// partition, as a target has one writer.
func firsts(all []Detection) []Detection {
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b Detection) int { return int(a.At.Offset - b.At.Offset) })
	seen := map[string]bool{}
	return slices.DeleteFunc(all, func(d Detection) bool {
		drop := d.Target == "" || seen[d.Target]
		seen[d.Target] = true
		return drop
	})
}
