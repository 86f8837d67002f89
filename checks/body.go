package checks

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
)

// maxBody is how much of a body is read, and how much is matched with the pattern
// once it is decoded, in bytes.
const maxBody = 1 << 20

// plain returns what a body says, decoded where it came compressed. We never ask
// for that, but servers do it unasked (gzip_static always of nginx). Where the
// encoding is not one that we read, or the body is not in it, it stays as it came.
func plain(raw []byte, encoding string) (body []byte, isRead bool) {
	var r io.Reader
	var err error
	switch encoding {
	case "", "identity":
		return raw, true
	case "gzip", "x-gzip":
		r, err = gzip.NewReader(bytes.NewReader(raw))
	case "deflate":
		// RFC 9110 (8.4.1.2) wants zlib's format; some servers send the bare stream.
		if r, err = zlib.NewReader(bytes.NewReader(raw)); err != nil {
			r, err = flate.NewReader(bytes.NewReader(raw)), nil
		}
	default:
		return raw, false
	}
	if err != nil {
		return raw, true
	}
	body, err = io.ReadAll(io.LimitReader(r, maxBody))
	// It was we who cut it off.
	if cut := len(raw) == maxBody && errors.Is(err, io.ErrUnexpectedEOF); err != nil && !cut {
		return raw, true
	}
	return body, true
}
