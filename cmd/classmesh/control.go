package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Requests at the local socket of a device. Answers are JSON; those that
// stream tell their error in a trailer.
const (
	pathStatus   = "/v1/status"
	pathDump     = "/v1/dump"
	pathCheck    = "/v1/check"
	pathImport   = "/v1/users/import"
	pathPassword = "/v1/users/password"
	pathGenerate = "/v1/generate"
	pathSync     = "/v1/sync"
)

// errorTrailer holds a remoteError as JSON after an answer that streams.
const errorTrailer = "Classmesh-Error"

// maxControlBody bounds a request: the largest is a file of users.
const maxControlBody = 16 << 20

// controlHandler serves operations to other commands.
func controlHandler(o operations) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+pathStatus, func(w http.ResponseWriter, r *http.Request) {
		s, err := o.status(r.Context())
		answer(w, s, err)
	})
	mux.HandleFunc("GET "+pathDump, func(w http.ResponseWriter, r *http.Request) {
		stream(w, func(w io.Writer) error { return o.dump(r.Context(), w) })
	})
	mux.HandleFunc("GET "+pathCheck, func(w http.ResponseWriter, r *http.Request) {
		stream(w, func(w io.Writer) error {
			return o.check(r.Context(), func(f finding) error { return printJSON(w, f) })
		})
	})
	mux.HandleFunc("POST "+pathImport, func(w http.ResponseWriter, r *http.Request) {
		partial, _ := strconv.ParseBool(r.URL.Query().Get("partial"))
		res, err := o.importUsers(r.Context(), http.MaxBytesReader(w, r.Body, maxControlBody), partial)
		answer(w, res, err)
	})
	mux.HandleFunc("POST "+pathPassword, func(w http.ResponseWriter, r *http.Request) {
		obey(w, r, o.setPassword)
	})
	mux.HandleFunc("POST "+pathGenerate, func(w http.ResponseWriter, r *http.Request) {
		obey(w, r, o.generate)
	})
	mux.HandleFunc("POST "+pathSync, func(w http.ResponseWriter, r *http.Request) {
		res, err := o.sync(r.Context())
		answer(w, res, err)
	})
	return mux
}

// obey does what the body of a request asks for.
func obey[O, R any](w http.ResponseWriter, r *http.Request, do func(context.Context, O) (R, error)) {
	var options O
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxControlBody)).Decode(&options); err != nil {
		answer(w, nil, usageError{err})
		return
	}
	res, err := do(r.Context(), options)
	answer(w, res, err)
}

func answer(w http.ResponseWriter, v any, err error) {
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		w.WriteHeader(http.StatusUnprocessableEntity)
		v = remote(err)
	}
	printJSON(w, v) // if nobody listens any more, nobody needs it
}

// stream answers with what f writes, and tells its error in the trailer.
func stream(w http.ResponseWriter, f func(io.Writer) error) {
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("Trailer", errorTrailer)
	w.WriteHeader(http.StatusOK)
	text := ""
	if err := f(impatient{w, http.NewResponseController(w)}); err != nil {
		b, _ := json.Marshal(remote(err)) // of strings and a number
		text = string(b)
	}
	w.Header().Set(errorTrailer, text)
}

// impatient breaks off when nobody reads for a while: what is streamed is a
// snapshot of the store, which must not stay open for ever.
type impatient struct {
	io.Writer
	control *http.ResponseController
}

const readerPatience = time.Minute

func (w impatient) Write(b []byte) (int, error) {
	if err := w.control.SetWriteDeadline(time.Now().Add(readerPatience)); err != nil {
		return 0, err
	}
	return w.Writer.Write(b)
}

// controlClient is the operations of the process that uses a data folder.
type controlClient struct{ http *http.Client }

// dialControl connects to the process that uses the data in dir, and fails if
// there is none.
func dialControl(ctx context.Context, dir string) (*controlClient, error) {
	first, err := dialLocal(ctx, dir)
	if err != nil {
		return nil, err
	}
	spare := make(chan net.Conn, 1)
	spare <- first
	return &controlClient{&http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			select {
			case c := <-spare:
				return c, nil
			default:
				return dialLocal(ctx, dir)
			}
		},
	}}}, nil
}

func (c *controlClient) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

func (c *controlClient) do(ctx context.Context, method, path string, body io.Reader, read func(io.Reader) error) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://local"+path, body)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("ask the process that uses the data folder: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		var e remoteError
		if err := json.NewDecoder(resp.Body).Decode(&e); err != nil || e.Words == "" {
			return fmt.Errorf("the process that uses the data folder answered %s: is it of another version?", resp.Status)
		}
		return &e
	}
	if err := read(resp.Body); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return err
	}
	if text := resp.Trailer.Get(errorTrailer); text != "" {
		var e remoteError
		if err := json.Unmarshal([]byte(text), &e); err != nil {
			return fmt.Errorf("ask the process that uses the data folder: %w", err)
		}
		return &e
	}
	return nil
}

// ask decodes the one value of an answer.
func ask[T any](ctx context.Context, c *controlClient, method, path string, body io.Reader) (v T, err error) {
	err = c.do(ctx, method, path, body, func(r io.Reader) error { return json.NewDecoder(r).Decode(&v) })
	return v, err
}

func (c *controlClient) status(ctx context.Context) (statusReport, error) {
	return ask[statusReport](ctx, c, http.MethodGet, pathStatus, nil)
}

func (c *controlClient) dump(ctx context.Context, w io.Writer) error {
	return c.do(ctx, http.MethodGet, pathDump, nil, func(r io.Reader) error {
		_, err := io.Copy(w, r)
		return err
	})
}

func (c *controlClient) check(ctx context.Context, report func(finding) error) error {
	return c.do(ctx, http.MethodGet, pathCheck, nil, func(r io.Reader) error { return readLines(r, report) })
}

func (c *controlClient) importUsers(ctx context.Context, csv io.Reader, partial bool) (importReport, error) {
	query := url.Values{"partial": {strconv.FormatBool(partial)}}
	return ask[importReport](ctx, c, http.MethodPost, pathImport+"?"+query.Encode(), csv)
}

func (c *controlClient) setPassword(ctx context.Context, o passwordOptions) (passwordReport, error) {
	return order[passwordReport](ctx, c, pathPassword, o)
}

func (c *controlClient) generate(ctx context.Context, o generateOptions) (generateReport, error) {
	return order[generateReport](ctx, c, pathGenerate, o)
}

// order asks for something to be done as options say.
func order[T any](ctx context.Context, c *controlClient, path string, options any) (v T, err error) {
	body, err := json.Marshal(options)
	if err != nil {
		return v, err
	}
	return ask[T](ctx, c, http.MethodPost, path, bytes.NewReader(body))
}

func (c *controlClient) sync(ctx context.Context) (syncReport, error) {
	return ask[syncReport](ctx, c, http.MethodPost, pathSync, nil)
}
