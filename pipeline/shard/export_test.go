package shard

// What a test outside needs to know of the encoding.
const (
	StateVersion = stateVersion
	OldestState  = oldestState
)

// Encoded reads the state of an entity, or of peers, into an empty shard and returns how this version writes it.
func (s *Shard) Encoded(st EntityState) ([]byte, error) {
	if by := int(st.Key[0]) - groups; by >= 0 {
		p := s.peersAt(st.Key)
		told, err := p.load(st.Value, s.rules[by])
		if err != nil {
			return nil, err
		}
		at := p.baseAt
		if len(p.base) > 0 {
			p.appendState(nil, at) // the base is written from what was read of it
		}
		p.baseAt, p.told = at, told
		return p.appendState(nil, at), nil
	}
	e := s.entity([]byte(st.Key))
	told, err := s.load(e, st.Value)
	if err != nil {
		return nil, err
	}
	return e.appendState(nil, told), nil
}
