package detector

// Cost is what a detector takes, estimated from its plan.
type Cost struct {
	Detector string  `json:"detector,omitempty"`
	NsCall   float64 `json:"ns_per_call"`
	// BytesAgent is of an agent at work that has been known for days; one at rest takes a tenth.
	BytesAgent float64 `json:"bytes_per_agent"`
	// Kills is how many false kills a day the budget allows among 1000 agents; 0 where the detector
	// does not enforce, or has no budget.
	Kills float64 `json:"kills_per_day_of_1000_agents"`
}

func (c Cost) plus(d Cost) Cost {
	c.NsCall += d.NsCall
	c.BytesAgent += d.BytesAgent
	c.Kills += d.Kills
	return c
}

func (c Cost) times(k float64) Cost {
	c.NsCall *= k
	c.BytesAgent *= k
	return c
}

// The figures of the estimate: what the shard takes for 600 agents of bench/fleet in 6 days, 65
// calls a day each, with one detector of a kind loaded, less what it takes without. A test
// holds what they add up to for the built-in detectors against a measurement.
var (
	costEntity  = Cost{NsCall: 150, BytesAgent: 470} // paid once, whatever is loaded
	costWatch   = Cost{NsCall: 42, BytesAgent: 405}
	costMatch   = Cost{NsCall: 15}
	costWithin  = Cost{NsCall: 130, BytesAgent: 1500}
	costSession = Cost{BytesAgent: 585} // where nothing else asks for the order of calls

	costFeatures = map[FeatureKind]Cost{
		KindCount:    {NsCall: 49, BytesAgent: 160}, // where a hard limit reads it
		KindRate:     {NsCall: 49, BytesAgent: 160},
		KindMax:      {NsCall: 30, BytesAgent: 240},
		KindQuantile: {NsCall: 170, BytesAgent: 400},

		KindDistinct: {NsCall: 110, BytesAgent: 680},
		KindNew:      {NsCall: 150, BytesAgent: 516},
		KindSurprise: {NsCall: 78, BytesAgent: 246},
		KindRepeats:  {NsCall: 115, BytesAgent: 112},
		KindStale:    {NsCall: 98, BytesAgent: 144},
		KindBurst:    {NsCall: 600, BytesAgent: 2400},
		KindSequence: {NsCall: 615, BytesAgent: 8270},
	}
	// What comes on top where a field has many values.
	costOfMany = map[FeatureKind]Cost{
		KindNew:      {NsCall: 137, BytesAgent: 2240},
		KindSurprise: {NsCall: 40, BytesAgent: 860},
		KindSequence: {NsCall: 810, BytesAgent: 23_400},
	}
	costOfCalls = map[FeatureKind]Cost{KindSequence: {NsCall: 820, BytesAgent: 4260}} // sequence(call)

	costCounts   = Cost{NsCall: 180, BytesAgent: 170}
	costRare     = Cost{NsCall: 45, BytesAgent: 168} // counts that few calls change
	costSizes    = Cost{NsCall: 370, BytesAgent: 452}
	costSeasonal = Cost{NsCall: 450, BytesAgent: 589}
	costKinds    = Cost{NsCall: 110, BytesAgent: 70}
)

// entitiesOfAgent is how many entities of a sort there are for each agent, and what finding them
// takes beside what an agent takes.
var entitiesOfAgent = map[Entity]struct {
	share float64
	extra Cost
}{
	ByAgent:     {share: 1},
	ByIdentity:  {1.7, Cost{NsCall: 100, BytesAgent: 780}},
	BySession:   {25, Cost{NsCall: 150, BytesAgent: 11_500}}, // and a further one for each new session
	ByChainRoot: {0.35, Cost{NsCall: 50, BytesAgent: 160}},
	ByTenant:    {0.02, Cost{NsCall: 50, BytesAgent: 10}},
	ByResource:  {16, Cost{NsCall: 650, BytesAgent: 7500}},
	ByParent:    {0.35, Cost{NsCall: 50, BytesAgent: 160}},

	// A pair is as its other half, but for the agents that share one, and for the way through the exchange.
	ByAgentIdentity:  {1.7, Cost{NsCall: 40, BytesAgent: 780}},
	ByAgentSession:   {25, Cost{NsCall: 60, BytesAgent: 11_500}},
	ByAgentChainRoot: {1.2, Cost{NsCall: 40, BytesAgent: 560}},
	ByAgentResource:  {30, Cost{NsCall: 60, BytesAgent: 14_000}},
	ByAgentParent:    {1.2, Cost{NsCall: 40, BytesAgent: 560}},
}

// selective is what a match that names values is taken to leave of the calls and of the agents. It
// may be next to nothing, as of deletions, or all.
const selective = 0.25

// Usage is what an agent does in a day, as far as budgets in other units than days go by it.
type Usage struct{ Calls, Sessions float64 }

// EstimateCosts returns what each detector of a plan takes, and all of them together.
func EstimateCosts(p *Plan, u Usage) (each []Cost, total Cost) {
	total = costEntity
	for _, d := range p.Detectors {
		c := d.cost(p)
		c.Detector = d.ID
		c.Kills = d.kills(u)
		each = append(each, c)
		total = total.plus(c)
	}
	return each, total
}

func (d *Compiled) cost(p *Plan) Cost {
	if d.Correlation != nil {
		return Cost{} // it is given detections, of which there are a few a day, and no calls
	}
	c := costWatch
	read := map[int]bool{}
	if d.When != nil {
		for _, i := range d.When.Features() {
			read[i] = true
		}
	}
	ordered := false
	for i, f := range d.Features {
		switch {
		case f.windowed() && !read[i]: // evidence alone keeps no window
		default:
			c = c.plus(costFeatures[f.Kind])
		}
		switch f.Field {
		case FieldResource, FieldSession:
			c = c.plus(costOfMany[f.Kind])
		case FieldCall:
			c = c.plus(costOfCalls[f.Kind])
		}
		ordered = ordered || f.Kind == KindSequence
	}
	for _, ev := range d.Evidence {
		c = c.plus(ev.cost(d.Features[ev.Feature]))
	}
	if d.Within {
		c = c.plus(costWithin)
		if !ordered {
			c = c.plus(costSession)
		}
	}
	if d.Match != nil && p.selects(d.Match) {
		c = c.times(selective)
	}
	of := entitiesOfAgent[d.GroupBy]
	c.BytesAgent *= of.share
	c = c.plus(of.extra)
	if d.Match != nil {
		c = c.plus(costMatch)
	}
	return c
}

func (ev Evidence) cost(f Feature) Cost {
	switch {
	case ev.Seasonal:
		return costSeasonal
	case f.Kind == KindMax, f.Kind == KindCount && f.Measure > MeasureMinutes:
		return costSizes
	case f.Kind == KindCount && f.Measure != MeasureCalls:
		return costRare
	case f.Kind == KindCount, f.Kind == KindRepeats, f.Kind == KindStale:
		return costCounts
	}
	return costKinds
}

// selects says whether a match asks for more than that fields are there.
func (p *Plan) selects(f Formula) bool {
	for _, s := range f {
		if s&stepOp == stepAtom && !p.atoms[s&stepIndex].presence {
			return true
		}
	}
	return false
}

// kills is how many false kills a day the budget of an enforcing detector allows among 1000 agents.
func (d *Compiled) kills(u Usage) float64 {
	if !d.enforces() || len(d.Evidence) == 0 {
		return 0
	}
	const agents = 1000
	switch {
	case d.Within:
		return agents * u.Sessions / d.Blocks
	case d.BlockCalls > 0:
		return agents * u.Calls / (d.Blocks * float64(d.BlockCalls))
	}
	return agents / d.Blocks // blocks are days
}
