package clickhouse

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
)

// inheritedListener is the descriptor under which a child finds the parent's listener.
const inheritedListener = 3

// maxOrders bounds the line that a child reads its options from.
const maxOrders = 1 << 20

// ServeChild is the main of the child that Start starts. It reads its Options as one line of
// JSON from standard input (so that the password is in no argument list and no
// environment), takes over the parent's listener, serves, and ends when standard input
// ends. Its log goes to standard error.
func ServeChild(ctx context.Context) error {
	in := bufio.NewReader(os.Stdin)
	line, err := readLine(in, maxOrders)
	if err != nil {
		return fmt.Errorf("cannot read the options of the ClickHouse engine from standard input (this command is for estop's own use): %w", err)
	}
	var o Options
	if err := json.Unmarshal(line, &o); err != nil {
		return fmt.Errorf("cannot understand the options of the ClickHouse engine: %w", err)
	}
	file := os.NewFile(inheritedListener, "listener")
	o.Listener, err = net.FileListener(file)
	if err != nil {
		return fmt.Errorf("cannot take over the parent's listener: %w", err)
	}
	file.Close()
	o.Lifeline, o.Ready = in, os.Stdout
	o.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	return Serve(ctx, o)
}

// readLine reads up to a newline, of at most limit bytes.
func readLine(in *bufio.Reader, limit int) ([]byte, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		if line = append(line, part...); len(line) > limit {
			return nil, fmt.Errorf("a line of more than %d bytes", limit)
		}
		switch err {
		case nil:
			return line, nil
		case bufio.ErrBufferFull:
		case io.EOF:
			return nil, io.ErrUnexpectedEOF
		default:
			return nil, err
		}
	}
}
