package discovery

// Virtual lets tests see which interfaces are passed over by name, LeadsOut which
// are for what they are.
var (
	Virtual  = virtual
	LeadsOut = leadsOut
)
