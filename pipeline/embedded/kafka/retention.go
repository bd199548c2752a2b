package kafka

import "time"

// Retention bounds what each partition of a topic with cleanup.policy=delete keeps.
type Retention struct {
	// Bytes that a partition keeps at most, once its readers have read the rest. Default: 64 MiB.
	Bytes int64
	// Age after which a record is deleted. 0 keeps by size alone.
	Age time.Duration
	// HardBytes that a partition never exceeds, even when a reader has not read what is deleted; that is logged
	// and counted. Default: 4 times Bytes.
	HardBytes int64
	// Every is how often the log is looked at. Default: 10 s.
	Every time.Duration
}

// Defaults of Retention.
const (
	DefaultBytes = 64 << 20
	DefaultEvery = 10 * time.Second
)

func (r Retention) withDefaults() Retention {
	if r.Bytes <= 0 {
		r.Bytes = DefaultBytes
	}
	if r.HardBytes <= 0 {
		r.HardBytes = 4 * r.Bytes
	}
	r.HardBytes = max(r.HardBytes, r.Bytes)
	if r.Every <= 0 {
		r.Every = DefaultEvery
	}
	return r
}

// segmentBytes is the size at which a segment file is closed. Disk space is freed by whole segments, so a
// partition takes up to one segment more than it keeps.
func (r Retention) segmentBytes() int64 {
	return min(max(r.Bytes/8, 64<<10), 16<<20)
}
