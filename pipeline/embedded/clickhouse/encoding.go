package clickhouse

import (
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"strings"

	"github.com/ClickHouse/ch-go/compress"
	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// maxZstdWindow bounds what a client's zstd stream can make the decoder allocate.
const maxZstdWindow = 8 << 20

// decodeBody undoes a request's Content-Encoding.
func decodeBody(body io.Reader, encoding string) (io.Reader, error) {
	switch strings.ToLower(encoding) {
	case "", "identity":
		return body, nil
	case "gzip", "x-gzip":
		return gzip.NewReader(body)
	case "deflate":
		return zlib.NewReader(body)
	case "br":
		return brotli.NewReader(body), nil
	case "lz4":
		return lz4.NewReader(body), nil
	case "zstd":
		decoder, err := zstd.NewReader(body, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxZstdWindow))
		if err != nil {
			return nil, err
		}
		return decoder.IOReadCloser(), nil
	}
	return nil, exceptionf(codeNotImplemented, "Content-Encoding %q is not supported", encoding)
}

// acceptedEncoding picks the encoding of an answer by the Accept-Encoding header, in
// ClickHouse's own order; empty when the client takes none of them.
func acceptedEncoding(header string) string {
	for _, encoding := range []string{"gzip", "deflate", "br", "lz4", "zstd"} {
		for offer := range strings.SplitSeq(header, ",") {
			name, weight, _ := strings.Cut(strings.TrimSpace(offer), ";")
			if strings.EqualFold(strings.TrimSpace(name), encoding) && !isZeroWeight(weight) {
				return encoding
			}
		}
	}
	return ""
}

func isZeroWeight(weight string) bool {
	value, ok := strings.CutPrefix(strings.TrimSpace(weight), "q=")
	return ok && strings.Trim(value, "0.") == ""
}

// encodeAnswer wraps w in the encoding that acceptedEncoding picked.
func encodeAnswer(w io.Writer, encoding string) (io.WriteCloser, error) {
	switch encoding {
	case "gzip":
		return gzip.NewWriterLevel(w, gzip.BestSpeed)
	case "deflate":
		return zlib.NewWriterLevel(w, zlib.BestSpeed)
	case "br":
		return brotli.NewWriterLevel(w, brotli.BestSpeed), nil
	case "lz4":
		return lz4.NewWriter(w), nil
	case "zstd":
		return zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
	}
	return nopCloser{w}, nil
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// frameSize is how many plain bytes one frame of the native framing holds at most, as a
// ClickHouse server's default buffer has it.
const frameSize = 1 << 20

// framer writes ClickHouse's native compression frames: checksum, method, sizes, bytes.
type framer struct {
	to      io.Writer
	encoder *compress.Writer
}

func newFramer(to io.Writer, method string) *framer {
	if method == "ZSTD" {
		return &framer{to, compress.NewWriter(compress.LevelZero, compress.ZSTD)}
	}
	return &framer{to, compress.NewWriter(compress.LevelZero, compress.LZ4)}
}

func (f *framer) Write(p []byte) (int, error) {
	written := 0
	for len(p) > written {
		part := p[written:min(len(p), written+frameSize)]
		if err := f.encoder.Compress(part); err != nil {
			return written, err
		}
		if _, err := f.to.Write(f.encoder.Data); err != nil {
			return written, err
		}
		written += len(part)
	}
	return written, nil
}

// deframer reads native compression frames. Unlike the reader under it, it tells the end of
// the stream from a frame that is cut short, and an error is its last word: the reader under
// it would give its last frame once more.
type deframer struct {
	frames *compress.Reader
	source *countingReader
	err    error
}

func newDeframer(from io.Reader) *deframer {
	source := &countingReader{from: from}
	return &deframer{frames: compress.NewReader(source), source: source}
}

func (d *deframer) Read(p []byte) (int, error) {
	if d.err != nil {
		return 0, d.err
	}
	d.source.taken = 0
	n, err := d.frames.Read(p)
	switch {
	case err == nil:
		return n, nil
	case errors.Is(err, io.EOF) && d.source.taken == 0:
		d.err = io.EOF
	default:
		d.err = exceptionf(codeCannotDecompress, "cannot decompress the body: %v. (CANNOT_DECOMPRESS)", err)
	}
	return n, d.err
}

// countingReader counts the bytes since taken was last set to zero.
type countingReader struct {
	from  io.Reader
	taken int
}

func (r *countingReader) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	r.taken += n
	return n, err
}
