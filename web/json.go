package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"unicode/utf8"
)

// maxBodyBytes bounds every request body.
const maxBodyBytes = 16 << 10

// readJSON reads the body of a request: one object, at most maxBodyBytes, no
// unknown fields, nothing after it.
func readJSON[T any](v *visit) (t T, err error) {
	body, err := io.ReadAll(v.Body)
	if err != nil {
		if p := problemOf(err); p.Code == "too_large" {
			return t, err
		}
		return t, badRequest("the body could not be read")
	}
	if !utf8.Valid(body) {
		return t, badRequest("the body is not UTF-8")
	}
	if !strings.HasPrefix(strings.TrimLeft(string(body), " \t\r\n"), "{") {
		return t, badRequest("the body is not a JSON object")
	}
	d := json.NewDecoder(strings.NewReader(string(body)))
	d.DisallowUnknownFields()
	if err := d.Decode(&t); err != nil {
		return t, badRequest("%s", wordsOfJSON(err))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return t, badRequest("there is more after the JSON object")
	}
	return t, nil
}

// wordsOfJSON says what is wrong with a text, without names of Go types.
func wordsOfJSON(err error) string {
	var wrongType *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &wrongType):
		field := wrongType.Field
		if field == "" {
			field = "the body"
		}
		return fmt.Sprintf("%s may not be a %s, or not this one", field, wrongType.Value)
	case errors.As(err, &syntax):
		return fmt.Sprintf("not valid JSON at byte %d", syntax.Offset)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the JSON object ends too early"
	}
	// Of these the decoder has no type: unknown fields.
	return strings.TrimPrefix(err.Error(), "json: ")
}

func writeJSON(w http.ResponseWriter, r *http.Request, status int, body any) {
	b, err := json.Marshal(body)
	if err != nil {
		// Only our own types are written, which marshal.
		http.Error(w, `{"error":{"code":"internal","message":"the answer could not be written"}}`, http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	sendParts(w, r, status, []*part{oncePart(append(b, '\n'))})
}

type apiFunc func(http.ResponseWriter, *visit) (any, error)

// openAPI serves JSON to anybody; a nil answer is "no content".
func (s *Server) openAPI(f apiFunc) http.Handler {
	return s.openPage(func(w http.ResponseWriter, v *visit) error {
		answer, err := f(w, v)
		switch {
		case err != nil:
			return err
		case answer == nil:
			w.WriteHeader(http.StatusNoContent)
		default:
			writeJSON(w, v.Request, http.StatusOK, answer)
		}
		return nil
	})
}

// api serves JSON to those who have signed in.
func (s *Server) api(f apiFunc) http.Handler {
	return s.openAPI(func(w http.ResponseWriter, v *visit) (any, error) {
		if v.person == nil {
			return nil, errNotSignedIn
		}
		return f(w, v)
	})
}

// apiFallback answers requests that no other pattern takes.
func apiFallback(mux *http.ServeMux) apiFunc {
	return func(w http.ResponseWriter, v *visit) (any, error) {
		var allowed []string
		for _, method := range []string{http.MethodDelete, http.MethodGet, http.MethodPost} {
			r := v.Request.Clone(v.Context())
			r.Method = method
			if _, pattern := mux.Handler(r); pattern != "/api/" {
				allowed = append(allowed, method)
			}
		}
		if allowed == nil {
			return nil, errNotFound
		}
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		return nil, &problem{Status: http.StatusMethodNotAllowed, Code: "method_not_allowed", Detail: strings.Join(allowed, ", ")}
	}
}
