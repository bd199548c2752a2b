package check

// appends holds the log of calls against what was appended. A call that Kafka did not confirm may be there or not.
func (v *violations) appends(h *History) {
	places := map[string][]Place{}
	for _, t := range h.Topics {
		if t.Name == CallsTopic {
			for _, r := range t.Records {
				places[r.ID] = append(places[r.ID], r.Place)
			}
		}
	}
	last := map[string]Append{} // of each agent, where it stands in the log
	for _, a := range h.Appends {
		at := places[a.ID]
		if len(at) > 1 {
			v.add(AppendDoubled, a.ID, "it stands at %v", at)
		}
		if a.Acked && (len(at) == 0 || at[0] != a.At) {
			v.add(AppendLost, a.ID, "Kafka confirmed it at %v and has it at %v", a.At, at)
		}
		if len(at) == 0 {
			continue
		}
		a.At = at[0]
		before, ok := last[a.Agent]
		if ok && (before.At.Partition != a.At.Partition || before.At.Offset >= a.At.Offset || before.Number >= a.Number) {
			v.add(OrderBroken, a.Agent, "call %s (number %d) stands at %v, %s (number %d) at %v",
				before.ID, before.Number, before.At, a.ID, a.Number, a.At)
		}
		last[a.Agent] = a
	}
}

// archive holds a table against its topic.
func (v *violations) archive(t *Topic) {
	rows := map[Place][]string{}
	for _, r := range t.Rows {
		rows[r.Place] = append(rows[r.Place], r.ID)
	}
	for _, r := range t.Records {
		ids := rows[r.Place]
		delete(rows, r.Place)
		switch {
		case len(ids) == 0:
			v.add(NotArchived, t.Name, "%s at %v has no row", r.ID, r.Place)
		case len(ids) > 1:
			v.add(ArchivedTwice, t.Name, "%s at %v has %d rows", r.ID, r.Place, len(ids))
		case ids[0] != r.ID:
			v.add(ArchivedWrong, t.Name, "the row of %v is of %s, the record of %s", r.Place, ids[0], r.ID)
		}
	}
	for _, r := range t.Rows {
		if _, ok := rows[r.Place]; ok {
			v.add(ArchivedWrong, t.Name, "the row of %s at %v is of no record", r.ID, r.Place)
		}
	}
}
