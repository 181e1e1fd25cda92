package web_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/web"
)

// TestExamples runs the examples of docs/api.md, in their order.
func TestExamples(t *testing.T) {
	text, err := os.ReadFile("../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	d := newDevice(t)
	d.setSync(web.Sync{
		State: web.StateOffline, Address: "203.0.113.5:443", LastOK: d.now().Add(-20 * time.Minute), NotYetSafe: 12,
		Logs:  []web.SyncLog{{Log: identity.LogID{1}, Device: d.replica.Device(), Lane: identity.LaneProgress, Counter: 40, Receipt: 28}},
		Peers: []web.SyncPeer{{Device: identity.DeviceID{2}, Name: "room 5", Address: "10.0.0.5:4280", Transport: "quic", Since: d.now(), Equal: true}},
	})
	b := d.browser()
	ids := strings.NewReplacer("AMINA", d.learner.String(), "BAKO", d.other.String())
	blocks := strings.Split(string(text), "```http\n")[1:]
	if len(blocks) < 12 {
		t.Fatalf("only %d examples found", len(blocks))
	}
	for _, block := range blocks {
		example, _, ok := strings.Cut(block, "\n```")
		request, want, ok2 := strings.Cut(example, "\n\n")
		if !ok || !ok2 {
			t.Fatalf("not a complete example: %s", block)
		}
		line, body, _ := strings.Cut(request, "\n")
		method, path, _ := strings.Cut(line, " ")
		statusLine, wantBody, _ := strings.Cut(want, "\n")
		var status int
		if _, err := fmt.Sscan(statusLine, &status); err != nil {
			t.Fatalf("%s: no status: %v", line, err)
		}
		var in any
		if body != "" {
			in = body
		}
		got := b.json(method, ids.Replace(path), in, status)
		if wantBody == "" {
			if got != nil {
				t.Errorf("%s: a body where none is told of: %v", line, got)
			}
			continue
		}
		var wanted any
		if err := json.Unmarshal([]byte(wantBody), &wanted); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		for _, difference := range differences("", wanted, got) {
			t.Errorf("%s: %s", request, difference)
		}
	}
}

// differences says where an answer is not as an example tells; "…" at the end
// of a text stands for anything. Fields may be left out of examples, elements
// of lists not.
func differences(at string, want, got any) []string {
	var list []string
	switch want := want.(type) {
	case map[string]any:
		object, ok := got.(map[string]any)
		if !ok {
			return []string{fmt.Sprintf("%s is %v", at, got)}
		}
		for k, w := range want {
			g, ok := object[k]
			if !ok {
				list = append(list, fmt.Sprintf("%s.%s is missing", at, k))
				continue
			}
			list = append(list, differences(at+"."+k, w, g)...)
		}
	case []any:
		elements, ok := got.([]any)
		if !ok || len(elements) != len(want) {
			return []string{fmt.Sprintf("%s is %v instead of %v", at, got, want)}
		}
		for i := range want {
			list = append(list, differences(fmt.Sprint(at, "[", i, "]"), want[i], elements[i])...)
		}
	case string:
		text, ok := got.(string)
		if prefix, any := strings.CutSuffix(want, "…"); any && prefix == "" {
			if got == nil {
				list = append(list, at+" is null")
			}
		} else if any && (!ok || !strings.HasPrefix(text, prefix)) || !any && got != want {
			list = append(list, fmt.Sprintf("%s is %v instead of %v", at, got, want))
		}
	default:
		if got != want {
			list = append(list, fmt.Sprintf("%s is %v instead of %v", at, got, want))
		}
	}
	return list
}

// TestDocumentsEveryCode: what a program may have to tell apart is documented.
func TestDocumentsEveryCode(t *testing.T) {
	text, err := os.ReadFile("../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	texts, err := os.ReadFile("texts/en.json")
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]any
	if err := json.Unmarshal(texts, &all); err != nil {
		t.Fatal(err)
	}
	// Of pages alone.
	pages := map[string]bool{"title": true, "title_not_found": true, "home": true, "no_password": true, "empty": true, "too_long": true, "no_text": true, "not_on_this_device": true, "not_administrating": true}
	for key := range all {
		if code, ok := strings.CutPrefix(key, "problem."); ok && !pages[code] && !strings.Contains(string(text), "`"+code+"`") {
			t.Errorf("docs/api.md does not explain the code %s", code)
		}
	}
}

func TestBadRequests(t *testing.T) {
	d := newDevice(t)
	learner, stranger := d.signedIn("amina"), d.browser()
	attempt := `{"exercise":"fractions-practice","item":"part-of-number","seed":1,"answer":"1"`
	for _, c := range []struct {
		name         string
		who          *browser
		method, path string
		body         any
		status       int
		code         string
	}{
		{"garbage", learner, "POST", "/api/v1/attempts", "\x00\xff{", 400, "bad_request"},
		{"not UTF-8", learner, "POST", "/api/v1/attempts", "{\"answer\":\"\xff\"}", 400, "bad_request"},
		{"nothing", learner, "POST", "/api/v1/attempts", "", 400, "bad_request"},
		{"a list", learner, "POST", "/api/v1/attempts", "[]", 400, "bad_request"},
		{"null", learner, "POST", "/api/v1/attempts", "null", 400, "bad_request"},
		{"cut off", learner, "POST", "/api/v1/attempts", attempt, 400, "bad_request"},
		{"two objects", learner, "POST", "/api/v1/attempts", attempt + "}{}", 400, "bad_request"},
		{"unknown field", learner, "POST", "/api/v1/attempts", attempt + `,"learner":"user-x"}`, 400, "bad_request"},
		{"answer is a number", learner, "POST", "/api/v1/attempts", `{"exercise":"fractions-practice","item":"part-of-number","seed":1,"answer":1}`, 400, "bad_request"},
		{"negative seed", learner, "POST", "/api/v1/attempts", `{"exercise":"fractions-practice","item":"part-of-number","seed":-1,"answer":"1"}`, 400, "bad_request"},
		{"huge seed", learner, "POST", "/api/v1/attempts", `{"exercise":"fractions-practice","item":"part-of-number","seed":9007199254740992,"answer":"1"}`, 400, "bad_request"},
		{"negative time", learner, "POST", "/api/v1/attempts", attempt + `,"ms_taken":-5}`, 400, "bad_request"},
		{"long id", learner, "POST", "/api/v1/attempts", attempt + `,"id":"` + strings.Repeat("x", 129) + `"}`, 400, "bad_request"},
		{"long answer", learner, "POST", "/api/v1/attempts", `{"exercise":"fractions-practice","item":"part-of-number","seed":1,"answer":"` + strings.Repeat("1", 257) + `"}`, 400, "answer_too_long"},
		{"too large", learner, "POST", "/api/v1/attempts", attempt + `,"id":"` + strings.Repeat("x", 20_000) + `"}`, 413, "too_large"},
		{"unknown exercise", learner, "POST", "/api/v1/attempts", `{"exercise":"x","item":"y","seed":1,"answer":"1"}`, 404, "unknown_exercise"},
		{"unknown item", learner, "POST", "/api/v1/attempts", `{"exercise":"fractions-practice","item":"y","seed":1,"answer":"1"}`, 404, "unknown_item"},
		{"unreadable", learner, "POST", "/api/v1/attempts", `{"exercise":"fractions-practice","item":"part-of-number","seed":1,"answer":""}`, 422, "unreadable_answer"},
		{"unknown video", learner, "POST", "/api/v1/viewings", `{"video":"x","from_s":0,"to_s":1}`, 404, "unknown_video"},
		{"no span", learner, "POST", "/api/v1/viewings", `{"video":"fractions-meaning","from_s":0}`, 400, "bad_request"},
		{"backwards", learner, "POST", "/api/v1/viewings", `{"video":"fractions-meaning","from_s":5,"to_s":4}`, 400, "bad_request"},
		{"before the beginning", learner, "POST", "/api/v1/viewings", `{"video":"fractions-meaning","from_s":-1,"to_s":4}`, 400, "bad_request"},
		{"after the end", learner, "POST", "/api/v1/viewings", `{"video":"fractions-meaning","from_s":43,"to_s":44}`, 400, "bad_request"},
		{"infinite", learner, "POST", "/api/v1/viewings", `{"video":"fractions-meaning","from_s":0,"to_s":1e999}`, 400, "bad_request"},
		{"another learner", learner, "GET", "/api/v1/progress?learner=" + d.other.String(), nil, 403, "forbidden"},
		{"the teacher", learner, "GET", "/api/v1/progress?learner=" + d.teacher.String(), nil, 403, "forbidden"},
		{"nobody", learner, "GET", "/api/v1/progress?learner=" + (identity.UserID{9}).String(), nil, 403, "forbidden"},
		{"no ID", learner, "GET", "/api/v1/progress?learner=amina", nil, 400, "bad_request"},
		{"class", learner, "GET", "/api/v1/class", nil, 403, "forbidden"},
		{"no address", learner, "GET", "/api/v1/nothing", nil, 404, "not_found"},
		{"no method", learner, "PUT", "/api/v1/attempts", nil, 405, "method_not_allowed"},
		{"attempt of nobody", stranger, "POST", "/api/v1/attempts", attempt + "}", 401, "not_signed_in"},
		{"viewing of nobody", stranger, "POST", "/api/v1/viewings", `{}`, 401, "not_signed_in"},
		{"progress of nobody", stranger, "GET", "/api/v1/progress", nil, 401, "not_signed_in"},
		{"class of nobody", stranger, "GET", "/api/v1/class", nil, 401, "not_signed_in"},
		{"sync of nobody", stranger, "GET", "/api/v1/sync", nil, 401, "not_signed_in"},
		{"question of nobody", stranger, "GET", "/api/v1/exercises/fractions-basics/question", nil, 401, "not_signed_in"},
		{"unknown user", stranger, "POST", "/api/v1/session", `{"username":"nobody","password":"x"}`, 401, "wrong_password"},
		{"no user", stranger, "POST", "/api/v1/session", `{}`, 401, "wrong_password"},
		{"endless name", stranger, "POST", "/api/v1/session", `{"username":"` + strings.Repeat("n", 5000) + `","password":"x"}`, 401, "wrong_password"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := code(c.who.json(c.method, c.path, c.body, c.status)); got != c.code {
				t.Errorf("code %s instead of %s", got, c.code)
			}
		})
	}
	if p := d.progress(d.learner); p.Totals.Attempts != 0 || len(p.Videos) != 0 {
		t.Errorf("something was recorded: %+v", p.Totals)
	}
	teacher := d.signedIn("teacher")
	if got := code(teacher.json("GET", "/api/v1/progress?learner="+(identity.UserID{9}).String(), nil, 404)); got != "unknown_learner" {
		t.Error(got)
	}
	if got := code(teacher.json("GET", "/api/v1/class?class="+strings.Replace(d.class.String(), "group-", "group-a", 1), nil, 400)); got != "bad_request" {
		t.Error(got)
	}
}

func TestCrossOrigin(t *testing.T) {
	d := newDevice(t)
	b := d.signedIn("amina")
	for _, header := range [][2]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "http://evil.example"}} {
		for _, path := range []string{"/api/v1/viewings", "/signout", "/exercises/fractions-basics"} {
			r := b.request("POST", path, strings.NewReader(`{"video":"fractions-meaning","from_s":0,"to_s":5}`))
			r.Header.Set(header[0], header[1])
			a := b.do(r)
			if a.StatusCode != http.StatusForbidden || !strings.Contains(a.body, "another site") {
				t.Errorf("POST %s with %s: %s %s", path, header, a.Status, a.body)
			}
		}
	}
	b.json("GET", "/api/v1/progress", nil, 200) // still signed in
	if len(d.progress(d.learner).Videos) != 0 {
		t.Error("a viewing was recorded")
	}
	r := b.request("POST", "/api/v1/viewings", strings.NewReader(`{"video":"fractions-meaning","from_s":0,"to_s":5}`))
	r.Header.Set("Origin", d.address)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	if a := b.do(r); a.StatusCode != 200 {
		t.Errorf("from a page of the device: %s", a.Status)
	}
}
