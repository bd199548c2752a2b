package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// Bounds on the text of a statement. Rows of an INSERT do not count.
const (
	statementHead = 64 << 10 // read first, to see what kind of statement it is
	maxStatement  = 16 << 20
)

// statement is a query's text, or the head of an INSERT whose rows follow.
type statement struct {
	text      string
	insertion insertion
}

// readStatement joins the query parameter and the body, as ClickHouse does, and separates an
// INSERT from its rows. rows is nil for every other statement.
func readStatement(query string, body io.Reader) (statement, io.Reader, error) {
	head := make([]byte, 0, statementHead)
	head = append(head, query...)
	if query != "" {
		head = append(head, '\n')
	}
	for size := statementHead; ; size *= 4 {
		var ended bool
		var err error
		head, ended, err = readUpTo(head, size, body)
		if err != nil {
			return statement{}, nil, err
		}
		text := string(head)
		in, isInsert := splitInsert(text)
		if isInsert && (ended || in.rows < len(text)) {
			return statement{insertion: in}, io.MultiReader(strings.NewReader(text[in.rows:]), body), nil
		}
		if ended {
			return statement{text: strings.TrimSpace(text)}, nil, nil
		}
		if size >= maxStatement {
			return statement{}, nil, exceptionf(codeQueryIsTooLarge, "the query is longer than %d bytes. (QUERY_IS_TOO_LARGE)", maxStatement)
		}
	}
}

// readUpTo fills head from body until it has size bytes or body ends.
func readUpTo(head []byte, size int, body io.Reader) ([]byte, bool, error) {
	for len(head) < size {
		if cap(head) == len(head) {
			head = append(head, 0)[:len(head)]
		}
		n, err := body.Read(head[len(head):min(cap(head), size)])
		head = head[:len(head)+n]
		if errors.Is(err, io.EOF) {
			return head, true, nil
		}
		if err != nil {
			return head, false, err
		}
	}
	return head, false, nil
}

// query runs a statement without rows and writes its result to out.
func (h *handler) query(ctx context.Context, req *request, text string, out *answer) (stats, error) {
	shape := outlineOf(text)
	switch {
	case text == "":
		return stats{}, exceptionf(codeSyntaxError, "Empty query. (SYNTAX_ERROR)")
	case shape.several:
		return stats{}, exceptionf(codeSyntaxError, "Syntax error (Multi-statements are not allowed). (SYNTAX_ERROR)")
	case shape.outfile:
		return stats{}, exceptionf(codeOutfileForbidden, "INTO OUTFILE is not allowed. (INTO_OUTFILE_NOT_ALLOWED)")
	case shape.infile:
		return stats{}, exceptionf(codeBadArguments, "Query has infile and was send directly to server. (BAD_ARGUMENTS)")
	}
	format := first(shape.format, req.format)
	out.w.Header().Set("X-ClickHouse-Format", format)
	out.w.Header().Set("Content-Type", contentType(format))
	var counted stats
	err := h.session(ctx, req, func(c *conn) (err error) {
		switch {
		case !selects(text, shape):
			counted, err = execute(c, text, format, out)
		case req.wait || !isPiecewise(text, format, shape, req):
			counted, err = h.selectToFile(c, text, format, shape, out)
		default:
			counted, err = c.stream(text, format, out)
		}
		return err
	})
	return counted, err
}

// selects tells whether a statement is a SELECT, whose answer may be of any size.
func selects(text string, shape outline) bool {
	switch firstWord(text) {
	case "SELECT", "FROM":
		return true
	case "WITH":
		return !shape.insert
	}
	return false
}

// piecewise are the formats that are written row by row or block by block, without a start
// or an end: the engine's streaming call begins the format anew with each chunk.
var piecewise = map[string]bool{
	"native": true, "rowbinary": true, "null": true, "csv": true, "tskv": true, "rawblob": true,
	"tabseparated": true, "tsv": true, "tabseparatedraw": true, "tsvraw": true, "lineasstring": true,
	"jsoneachrow": true, "jsonlines": true, "ndjson": true, "jsoncompacteachrow": true,
	"jsonstringseachrow": true, "jsoncompactstringseachrow": true,
}

// isPiecewise tells whether the chunks of a streamed answer, joined, are the answer.
// Totals and extremes are not in any chunk.
func isPiecewise(text, format string, shape outline, req *request) bool {
	const array = "output_format_json_array_of_rows"
	_, asArray := req.settings[array]
	extremes := first(req.settings["extremes"], "0") != "0" || strings.Contains(text, "extremes")
	return piecewise[strings.ToLower(format)] && !shape.totals && !extremes &&
		!asArray && !strings.Contains(text, array)
}

// execute runs a statement that is no SELECT: its answer is small.
func execute(c *conn, text, format string, out io.Writer) (stats, error) {
	result, counted, err := c.exec(text, format)
	if err != nil {
		return counted, err
	}
	_, err = out.Write(result)
	return counted, err
}

// selectToFile has the engine write the answer to a nameless file and gives it to out, which
// sends it when the query is over. Memory stays bounded with every format.
func (h *handler) selectToFile(c *conn, text, format string, shape outline, out *answer) (stats, error) {
	file, err := newSpool(h.spoolDir)
	if err != nil {
		return stats{}, err
	}
	out.spool = file
	if err := file.toDisk(); err != nil {
		return stats{}, err
	}
	path, err := file.path()
	if err != nil {
		return stats{}, err
	}
	clauses := text[shape.clauses:]
	if shape.format == "" {
		clauses = " FORMAT " + format + clauses
	}
	_, counted, err := c.exec(text[:shape.clauses]+" INTO OUTFILE "+quoteText(path)+" APPEND "+clauses, "")
	return counted, err
}

// session runs work in a connection that has the request's database, settings and
// parameters. When the client goes away the query is killed: cancelling the stream alone
// would let it run on.
func (h *handler) session(ctx context.Context, req *request, work func(*conn) error) error {
	c, err := h.engine.connect()
	if err != nil {
		return err
	}
	defer c.close()
	mark := fmt.Sprintf("estop %d %s ", h.marks.Add(1), req.queryID)
	if req.database != "" && req.database != "default" {
		if _, _, err := c.exec("USE "+quoteName(req.database), ""); err != nil {
			return err
		}
	}
	if _, _, err := c.exec(req.setStatement(h.defaults, mark), ""); err != nil {
		return err
	}
	done := make(chan struct{})
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		h.killWhenGone(ctx, done, mark+req.settings["log_comment"])
	}()
	err = work(c)
	close(done)
	<-watched
	if ctx.Err() != nil {
		return errors.Join(ctx.Err(), err)
	}
	return err
}

// killInterval is how often KILL QUERY is repeated until the query has ended: the first may
// come before the query is on the list.
const killInterval = 100 * time.Millisecond

func (h *handler) killWhenGone(ctx context.Context, done <-chan struct{}, comment string) {
	select {
	case <-done:
		return
	case <-ctx.Done():
	}
	tick := time.NewTicker(killInterval)
	defer tick.Stop()
	for {
		h.kill(comment)
		select {
		case <-done:
			return
		case <-tick.C:
		}
	}
}

func (h *handler) kill(comment string) {
	c, err := h.engine.connect()
	if err != nil {
		return
	}
	defer c.close()
	if _, _, err := c.exec("KILL QUERY WHERE Settings['log_comment'] = "+quoteText(comment)+" ASYNC", "Null"); err != nil {
		h.log.Warn("cannot kill the query of a client that went away", "error", err)
	}
}

// contentType is the media type of a format, as ClickHouse sends it.
func contentType(format string) string {
	switch f := strings.ToLower(format); {
	case strings.HasPrefix(f, "tabseparated"), strings.HasPrefix(f, "tsv"):
		return "text/tab-separated-values; charset=UTF-8"
	case strings.HasPrefix(f, "csv"):
		return "text/csv; charset=UTF-8; header=absent"
	case strings.HasSuffix(f, "eachrow"), strings.HasSuffix(f, "jsonlines"), f == "ndjson":
		return "application/x-ndjson; charset=UTF-8"
	case strings.HasPrefix(f, "json"):
		return "application/json; charset=UTF-8"
	case strings.HasPrefix(f, "xml"):
		return "application/xml; charset=UTF-8"
	case strings.HasPrefix(f, "pretty"), strings.HasPrefix(f, "vertical"), strings.HasPrefix(f, "values"), strings.HasPrefix(f, "markdown"):
		return "text/plain; charset=UTF-8"
	}
	return "application/octet-stream"
}
