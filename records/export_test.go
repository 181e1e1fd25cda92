package records

// EndSegmentsAfter makes the segments of r's own logs short, so that a test has
// many. Call it before anything is written.
func (r *Replica) EndSegmentsAfter(counters uint64) { r.segmentCounters = counters }

// PublishAtMost makes the commits of what is published again smaller.
func (r *Replica) PublishAtMost(n int) { r.again.most = n }
