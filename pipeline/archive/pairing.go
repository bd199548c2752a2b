package archive

import (
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// seen is as much of a detection as a comparison looks at.
type seen struct {
	canary   bool
	at       time.Time // the call's own time
	appended time.Time
	entity   entity
	agent    string
}

type entity struct{ tenant, by, name string }

// pairing pairs the detections of a canary with those of the live detector as they are read, by entity and time. Those
// that wait for the other version are all of one version: the other's would have been paired.
type pairing struct {
	result       Comparison
	waiting      []seen
	live, canary map[entity]bool // agents hit
}

func newPairing(c Canary) *pairing {
	return &pairing{result: Comparison{Canary: c}, live: map[entity]bool{}, canary: map[entity]bool{}}
}

func (p *pairing) read(rows driver.Rows) error {
	var s seen
	if err := rows.Scan(&s.canary, &s.at, &s.appended, &s.entity.tenant, &s.entity.by, &s.entity.name, &s.agent); err != nil {
		return err
	}
	p.add(s)
	return nil
}

func (p *pairing) add(s seen) {
	for len(p.waiting) > 0 && (p.waiting[0].entity != s.entity || s.at.Sub(p.waiting[0].at) > Together) {
		p.alone(p.waiting[0])
		p.waiting = p.waiting[1:]
	}
	if len(p.waiting) == 0 || p.waiting[0].canary == s.canary {
		p.waiting = append(p.waiting, s)
		return
	}
	other := p.waiting[0]
	p.waiting = p.waiting[1:]
	if p.within(other) || p.within(s) {
		p.result.Both++
		p.hit(other)
		p.hit(s)
	}
}

// alone counts a detection that the other version did not make. One from outside of the canary's time was read only
// because it could have been a pair's other half.
func (p *pairing) alone(s seen) {
	switch {
	case !p.within(s):
		return
	case s.canary:
		p.result.OnlyCanary++
	default:
		p.result.OnlyLive++
	}
	p.hit(s)
}

func (p *pairing) within(s seen) bool {
	return !s.appended.Before(p.result.Since) && !s.appended.After(p.result.Until)
}

func (p *pairing) hit(s seen) {
	agents := p.live
	if s.canary {
		agents = p.canary
	}
	agents[entity{tenant: s.entity.tenant, name: s.agent}] = true
}

// end returns the counts once all detections were added.
func (p *pairing) end() Comparison {
	for _, s := range p.waiting {
		p.alone(s)
	}
	p.waiting = nil
	p.result.LiveAgents, p.result.CanaryAgents = len(p.live), len(p.canary)
	return p.result
}
