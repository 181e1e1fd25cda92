package web

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"hash/crc32"
	"hash/maphash"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// part is a stretch of a page. It does not change.
type part struct {
	plain []byte
	// zipped is the same, compressed so that it refers to nothing before it
	// and can stand anywhere in a compressed page; nil: compressed when sent.
	zipped []byte
	sum    uint64 // of plain
}

var sumSeed = maphash.MakeSeed()

// minKeptZipped is the size from which a part that is sent again and again is
// kept compressed. Smaller ones are compressed better together.
const minKeptZipped = 4 << 10

// newPart makes a part that is sent many times, and keeps the text.
func newPart(plain []byte) *part {
	p := oncePart(plain)
	if len(plain) >= minKeptZipped {
		p.zipped = zip(nil, p)
	}
	return p
}

// oncePart makes a part that is sent once.
func oncePart(plain []byte) *part { return &part{plain: plain, sum: maphash.Bytes(sumSeed, plain)} }

// zippers are reused: each takes more than a megabyte.
var zippers = sync.Pool{New: func() any {
	z, err := flate.NewWriter(nil, flate.BestSpeed)
	if err != nil {
		panic(err) // only of a level that does not exist
	}
	return z
}}

// zip appends parts, compressed as whole blocks of a stream that goes on.
func zip(b []byte, parts ...*part) []byte {
	out := bytes.NewBuffer(b)
	z := zippers.Get().(*flate.Writer)
	z.Reset(out)
	for _, p := range parts {
		z.Write(p.plain) // a buffer takes all
	}
	z.Flush()
	zippers.Put(z)
	return out.Bytes()
}

// minZipped is the size from which a page is compressed: smaller ones go in a
// packet or two as they are.
const minZipped = 1400

// takesGzip reports whether a browser takes pages that are compressed.
func takesGzip(r *http.Request) bool {
	for _, encoding := range strings.Split(strings.Join(r.Header["Accept-Encoding"], ","), ",") {
		name, weight, _ := strings.Cut(encoding, ";")
		if strings.EqualFold(strings.TrimSpace(name), "gzip") {
			_, q, weighted := strings.Cut(strings.ReplaceAll(weight, " ", ""), "q=")
			value, err := strconv.ParseFloat(q, 64)
			return !weighted || err == nil && value > 0
		}
	}
	return false
}

// sendParts sends a page, of which a browser may say that it has the same
// already: it then gets none.
func sendParts(w http.ResponseWriter, r *http.Request, status int, parts []*part) {
	var tag maphash.Hash
	tag.SetSeed(sumSeed)
	size := 0
	for _, p := range parts {
		maphash.WriteComparable(&tag, p.sum)
		size += len(p.plain)
	}
	h := w.Header()
	h.Set("Vary", "Accept-Encoding")
	if status == http.StatusOK && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		// Weak: whether it is compressed makes no difference.
		etag := `W/"` + strconv.FormatUint(tag.Sum64(), 36) + `"`
		h.Set("ETag", etag)
		if hasTag(r, etag) {
			h.Del("Content-Type")
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	if size >= minZipped && takesGzip(r) {
		b := gzipped(parts)
		h.Set("Content-Encoding", "gzip")
		h.Set("Content-Length", strconv.Itoa(len(b)))
		w.WriteHeader(status)
		w.Write(b) // who is gone gets nothing
		return
	}
	h.Set("Content-Length", strconv.Itoa(size))
	w.WriteHeader(status)
	for _, p := range parts {
		w.Write(p.plain)
	}
}

// gzipped returns parts as one gzip file (RFC 1952).
func gzipped(parts []*part) []byte {
	b := []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255} // deflate, no flags, no time, fast, no system
	crc, size, waiting := uint32(0), 0, 0
	for i, p := range parts {
		crc = crc32.Update(crc, crc32.IEEETable, p.plain)
		size += len(p.plain)
		if p.zipped != nil {
			if waiting < i {
				b = zip(b, parts[waiting:i]...)
			}
			b = append(b, p.zipped...)
			waiting = i + 1
		}
	}
	if waiting < len(parts) {
		b = zip(b, parts[waiting:]...)
	}
	b = append(b, 1, 0, 0, 0xff, 0xff) // the last block, with nothing in it
	b = binary.LittleEndian.AppendUint32(b, crc)
	return binary.LittleEndian.AppendUint32(b, uint32(size))
}

// hasTag reports whether a browser has the page with a tag.
func hasTag(r *http.Request, etag string) bool {
	for _, tag := range strings.Split(strings.Join(r.Header["If-None-Match"], ","), ",") {
		if tag = strings.TrimSpace(tag); strings.TrimPrefix(tag, "W/") == strings.TrimPrefix(etag, "W/") {
			return true
		}
	}
	return false
}
