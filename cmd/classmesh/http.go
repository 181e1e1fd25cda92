package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"
)

const (
	// headerTimeout bounds how long a browser may take to say what it wants.
	headerTimeout = 10 * time.Second
	// idleTimeout is how long a browser keeps a connection that it does not
	// use.
	idleTimeout = 2 * time.Minute
	// shutdownPatience is how long requests may go on once the program is to
	// end.
	shutdownPatience = 5 * time.Second
)

// serveHTTP serves until ctx is done. Requests that have begun are finished,
// or cut off after shutdownPatience.
func serveHTTP(ctx context.Context, s *http.Server, l net.Listener) error {
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownPatience)
	defer cancel()
	err := s.Shutdown(limited)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.Close()
	}
	<-ended
	return err
}
