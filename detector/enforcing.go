package detector

// Enforcing returns the plan with those detectors alone that may stop somebody: what kills, right or wrong, can come of.
func (p *Plan) Enforcing() *Plan {
	only := *p
	only.Detectors, only.enforcers = nil, nil
	for i, d := range p.Detectors {
		for _, e := range p.enforcers[i] {
			if e.Compiled != nil {
				only.Detectors = append(only.Detectors, d)
				only.enforcers = append(only.enforcers, p.enforcers[i])
				break
			}
		}
	}
	return &only
}
