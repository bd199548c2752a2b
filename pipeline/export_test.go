package pipeline

// Crash makes the role end as if it had failed: what is not committed stays so.
func (d *Detect) Crash(err error) { d.fail(err) }
