package packing

import "github.com/classmesh/classmesh/records"

// AppendColumns appends entries in columns even where rows are shorter, unless they
// differ too much, and reports that.
func AppendColumns(b []byte, entries []records.Entry) ([]byte, bool) {
	w := writers.Get().(*columnWriter)
	defer writers.Put(w)
	defer w.reset()
	for i := range entries {
		w.add(&entries[i])
	}
	return w.append(b, len(entries)), w.fits()
}

const (
	MostShapes = mostShapes
	MostParts  = mostParts
	MostFields = mostFields
	MostBlocks = mostBlocks
)
