package records

// EndSegmentsAfter makes the segments of r's own logs short, so that a test has
// many. Call it before anything is written.
func (r *Replica) EndSegmentsAfter(counters uint64) { r.segmentCounters = counters }
