package discovery

// Virtual lets tests see which interfaces are passed over by name.
var Virtual = virtual
