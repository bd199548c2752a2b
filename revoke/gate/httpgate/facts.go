package httpgate

import (
	"net/http"

	"github.com/estop-project/estop/revoke/gate"
)

// Facts are what a request tells of who calls: its headers where they are believed, and the
// verified certificate of the client. It is for gates that read requests in their own way.
func (p Peers) Facts(r *http.Request) (gate.Facts, error) { return p.facts(r) }
