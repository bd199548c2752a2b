package clickhouse

import "fmt"

// stats is what the engine counted for one query.
type stats struct {
	seconds                   float64
	resultRows, resultBytes   uint64
	readRows, readBytes       uint64
	writtenRows, writtenBytes uint64
}

func (s *stats) add(t stats) {
	s.seconds += t.seconds
	s.resultRows += t.resultRows
	s.resultBytes += t.resultBytes
	s.readRows += t.readRows
	s.readBytes += t.readBytes
	s.writtenRows += t.writtenRows
	s.writtenBytes += t.writtenBytes
}

// summary writes the numbers in the form of the X-ClickHouse-Summary header.
func (s stats) summary() string {
	return fmt.Sprintf(`{"read_rows":"%d","read_bytes":"%d","written_rows":"%d","written_bytes":"%d",`+
		`"total_rows_to_read":"0","result_rows":"%d","result_bytes":"%d","elapsed_ns":"%d"}`,
		s.readRows, s.readBytes, s.writtenRows, s.writtenBytes, s.resultRows, s.resultBytes, int64(s.seconds*1e9))
}
