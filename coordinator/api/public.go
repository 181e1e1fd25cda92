package api

import (
	"io"
	"net/http"

	"github.com/classmesh/classmesh/coordinator"
)

// welcome is what a person sees who opens the coordinator's address.
const welcome = `This is a classmesh coordinator. Devices of schools meet here to exchange their records.

There is nothing to see here in a browser. To connect a device, type on it:

    classmesh device join --data DIR --name NAME URL CODE

where URL is the address of this page and CODE is an invitation from your administrator.
`

// NewPublicHandler returns what anybody may see: a few words at /, /healthz
// (the process lives) and /readyz (it can do its work; 503 if not).
func NewPublicHandler(c *coordinator.Coordinator) http.Handler {
	mux := http.NewServeMux()
	text := func(w http.ResponseWriter, status int, s string) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.WriteHeader(status)
		io.WriteString(w, s)
	}
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, welcome) })
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if c.Ready(r.Context()) != nil {
			text(w, http.StatusServiceUnavailable, "not ready\n") // why is in the log, not for everybody
			return
		}
		text(w, http.StatusOK, "ready\n")
	})
	return mux
}
