package main

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"net/netip"
	"strconv"
)

//go:embed demopage
var demoPageFiles embed.FS

var demoTemplate = template.Must(template.New("page.html").Funcs(template.FuncMap{
	"args": func(what string, device int, text, on string, class ...string) demoSwitch {
		return demoSwitch{what, device, text, on, len(class) > 0}
	},
}).ParseFS(demoPageFiles, "demopage/page.html"))

// demoSwitch is a button of the page.
type demoSwitch struct {
	What   string
	Device int // or everybody
	Text   string
	On     string // what it sends: 1 or 0
	First  bool
}

// demoPage is what the template shows.
type demoPage struct {
	Devices     []seatView
	Agreement   string
	Notes       []workNote
	Accounts    []demoAccount
	Coordinator string
}

// State and Safe put a device into words for the template.
func (v seatView) State() string { return v.state() }
func (v seatView) Safe() string  { return v.safe() }

// demoHandler serves the page with the switches of a demo. It is for this
// machine alone.
func demoHandler(s *switches, accounts []demoAccount, coordinator string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		page := demoPage{Devices: s.views(), Notes: s.lately(), Coordinator: coordinator}
		page.Agreement = agreement(page.Devices)
		roles := map[string]bool{}
		for _, a := range accounts { // one of each
			if !roles[a.Role] {
				roles[a.Role] = true
				page.Accounts = append(page.Accounts, a)
			}
		}
		var b bytes.Buffer
		if err := demoTemplate.Execute(&b, page); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Write(b.Bytes())
	})
	for name, mediaType := range map[string]string{"page.css": "text/css; charset=utf-8", "page.js": "text/javascript; charset=utf-8"} {
		data, err := demoPageFiles.ReadFile("demopage/" + name)
		if err != nil {
			panic(err) // it is embedded
		}
		mux.HandleFunc("GET /"+name, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", mediaType)
			w.Write(data)
		})
	}
	mux.HandleFunc("POST /switch", func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, 4096)
		if err := s.byForm(r); err != nil {
			http.Error(w, err.Error(), http.StatusUnprocessableEntity)
			return
		}
		http.Redirect(w, r, "/", http.StatusSeeOther)
	})
	protected := http.NewCrossOriginProtection().Handler(mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// A name that another site points at this machine is not ours.
		if !isLoopback(r.Host) {
			http.Error(w, "this page is for this machine alone", http.StatusForbidden)
			return
		}
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		protected.ServeHTTP(w, r)
	})
}

func isLoopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

// byForm does what a button of the page stands for.
func (s *switches) byForm(r *http.Request) error {
	number, err := strconv.Atoi(r.PostFormValue("device"))
	if err != nil {
		return fmt.Errorf("%w: %q", errNoDevice, r.PostFormValue("device"))
	}
	on := r.PostFormValue("on") == "1"
	switch what := r.PostFormValue("what"); what {
	case "internet":
		return s.cut(wayInternet, number, !on)
	case "lan":
		return s.cut(wayLAN, number, !on)
	case "power":
		return s.power(number, on)
	case "work":
		_, err := s.work(number, func(arrival) {})
		return err
	case "back":
		return s.restore()
	default:
		return fmt.Errorf("there is no switch %q", what)
	}
}
