package telemetry

import (
	"bytes"
	"io"

	"github.com/klauspost/compress/gzip"
)

// gunzipper unpacks gzip into a buffer that it keeps.
type gunzipper struct {
	in  bytes.Reader
	zr  gzip.Reader
	out []byte
}

// unpack returns what raw unpacks to, valid until the next unpack, or a reason. It stops
// as soon as that is more than most bytes, or more than the ratio allows.
func (g *gunzipper) unpack(raw []byte, most, ratio int) ([]byte, string) {
	if cap(g.out) > keepBytes {
		g.out = nil
	}
	g.out = g.out[:0]
	g.in.Reset(raw)
	defer g.in.Reset(nil)
	if err := g.zr.Reset(&g.in); err != nil {
		return nil, ReasonBadGzip
	}
	most = min(most, max(ratioFrom, ratio*len(raw)))
	for {
		if len(g.out) == cap(g.out) {
			g.out = append(g.out, make([]byte, max(4096, min(cap(g.out), most+1-len(g.out))))...)[:len(g.out)]
		}
		n, err := g.zr.Read(g.out[len(g.out):cap(g.out)])
		g.out = g.out[:len(g.out)+n]
		switch {
		case len(g.out) > most:
			return nil, ReasonGzipBomb
		case err == io.EOF:
			return g.out, ""
		case err != nil:
			return nil, ReasonBadGzip
		}
	}
}
