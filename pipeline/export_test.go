package pipeline

// Crash makes the role end as if it had failed: what is not committed stays so.
func (d *Detect) Crash(err error) { d.fail(err) }

// CompactSoon makes the role write its local files anew whenever they have grown by a few bytes.
func CompactSoon(o *Options) { o.slack = 1 << 10 }
