package telemetry

import "bytes"

// AppendKey appends the key of a call's Kafka record: tenant/agent. In the tenant, / is
// written %2F and % is written %25, so that different pairs have different keys.
func AppendKey(b []byte, c *Call) []byte {
	if bytes.IndexByte(c.Tenant, '/') < 0 && bytes.IndexByte(c.Tenant, '%') < 0 {
		b = append(b, c.Tenant...)
	} else {
		for _, t := range c.Tenant {
			switch t {
			case '/':
				b = append(b, "%2F"...)
			case '%':
				b = append(b, "%25"...)
			default:
				b = append(b, t)
			}
		}
	}
	b = append(b, '/')
	return append(b, c.Agent...)
}

// Key returns a new slice with the key of a call's Kafka record.
func Key(c *Call) []byte { return AppendKey(nil, c) }
