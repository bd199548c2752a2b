package archive

import (
	"fmt"
	"strconv"
	"strings"
)

// intent is what the metadata of a committed offset says: the id of the topic that the
// offset belongs to, and, while a batch is in doubt, the batch's last offset. The batch then
// begins at the committed offset itself.
type intent struct {
	log string
	end int64 // -1: no batch is in doubt
}

const intentVersion = "estop-archive/1"

// String returns the metadata: estop-archive/1 log=<id> [end=<offset>].
func (i intent) String() string {
	if i.end < 0 {
		return fmt.Sprintf("%s log=%s", intentVersion, i.log)
	}
	return fmt.Sprintf("%s log=%s end=%d", intentVersion, i.log, i.end)
}

// parseIntent reads the metadata of an offset. Metadata that is not ours (an offset set with
// another tool) names no topic and no batch. Metadata of a later version is an error: to
// guess at it could double rows.
func parseIntent(metadata string) (intent, error) {
	none := intent{end: -1}
	version, rest, _ := strings.Cut(metadata, " ")
	if version != intentVersion {
		if strings.HasPrefix(version, "estop-archive/") {
			return none, fmt.Errorf("cannot read the offset's metadata %q: unknown version", metadata)
		}
		return none, nil
	}
	out := none
	for _, field := range strings.Fields(rest) {
		name, value, _ := strings.Cut(field, "=")
		switch name {
		case "log":
			out.log = value
		case "end":
			end, err := strconv.ParseInt(value, 10, 64)
			if err != nil || end < 0 {
				return none, fmt.Errorf("cannot read the offset's metadata %q: end is no offset", metadata)
			}
			out.end = end
		}
	}
	return out, nil
}

// token names a batch for ClickHouse: the same batch has the same token at every attempt,
// by whichever archiver. next is the batch's first offset.
func token(log string, partition int32, next, end int64) string {
	return fmt.Sprintf("%s/%d/%d-%d", log, partition, next, end)
}
