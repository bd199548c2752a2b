package clickhouse

import (
	"strings"

	"github.com/ClickHouse/ch-go/proto"
)

// helloQuery is what clickhouse-go asks first. It decodes the answer by its own protocol
// revision, and all later answers by the revision it is told here. The engine always writes
// Native of revision 0, so the handler answers this query itself and says 0.
const helloQuery = "SELECT displayName(), version(), revision(), timezone()"

func isHello(req *request, query string) bool {
	return req.revision > 0 && strings.EqualFold(req.format, "Native") &&
		strings.TrimSpace(query) == helloQuery
}

// hello is who the engine says it is.
type hello struct{ name, version, timezone string }

// answer writes the one row that clickhouse-go expects, in Native of the given revision.
func (h hello) answer(revision int) ([]byte, error) {
	var name, version, timezone proto.ColStr
	name.Append(h.name)
	version.Append(h.version)
	timezone.Append(h.timezone)
	zero := proto.ColUInt32{0}
	var buffer proto.Buffer
	block := proto.Block{Columns: 4, Rows: 1, Info: proto.BlockInfo{BucketNum: -1}}
	err := block.EncodeBlock(&buffer, revision, []proto.InputColumn{
		{Name: "displayName()", Data: &name},
		{Name: "version()", Data: &version},
		{Name: "revision()", Data: zero},
		{Name: "timezone()", Data: &timezone},
	})
	return buffer.Buf, err
}
