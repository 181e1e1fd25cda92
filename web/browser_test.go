package web_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/classmesh/classmesh/records/classroom"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/web"
)

// tab is a page in a real browser.
type tab struct {
	d   *device
	ctx context.Context
}

// newChromium starts a browser. Without one the test is skipped, but not in
// continuous integration.
func newChromium(t *testing.T) context.Context {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("no Chromium found: install it (Debian: apt-get install chromium), the pages are tested in it")
		}
		t.Skip("no Chromium found: pages are tested in it where it is installed (Debian: apt-get install chromium)")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path),
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.Flag("disable-quic", true),
		chromedp.Flag("autoplay-policy", "no-user-gesture-required"))
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start %s: %v", path, err)
	}
	return ctx
}

func newTab(d *device, ctx context.Context) *tab { return &tab{d, ctx} }

func (b *tab) do(what string, steps ...chromedp.Action[chromedp.Void]) {
	b.d.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 30*time.Second)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		html, _ := chromedp.Run(b.ctx, chromedp.Evaluate[string](`location.href + "\n" + document.body.innerText`))
		b.d.t.Fatalf("%s: %v\n%s", what, err, html)
	}
}

func (b *tab) size(width, height int64) {
	b.d.t.Helper()
	b.do("resize", chromedp.EmulateViewport(width, height))
}

func (b *tab) open(path string) {
	b.d.t.Helper()
	b.do("open "+path, chromedp.Navigate(b.d.address+path))
}

func (b *tab) click(css string) {
	b.d.t.Helper()
	b.do("click "+css, chromedp.Click(chromedp.CSS(css)))
}

// follow clicks and waits until another page is there.
func (b *tab) follow(css string) {
	b.d.t.Helper()
	b.do("mark page", chromedp.Evaluate[chromedp.Void](`void (window.before = true)`))
	b.click(css)
	b.wait(`window.before === undefined && document.readyState === "complete"`)
}

func (b *tab) write(css, text string) {
	b.d.t.Helper()
	empty := chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`void (document.querySelector(%q).value = "")`, css))
	b.do("write into "+css, empty, chromedp.SendKeys(chromedp.CSS(css), text))
}

// wait waits until a script says so, over a change of pages if need be.
func (b *tab) wait(js string) {
	b.d.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 30*time.Second)
	defer cancel()
	var err error
	for ctx.Err() == nil {
		if _, err = chromedp.Run(ctx, chromedp.Poll[bool](js)); err == nil {
			return
		}
	}
	html, _ := chromedp.Run(b.ctx, chromedp.Evaluate[string](`location.href + "\n" + document.body.innerText`))
	b.d.t.Fatalf("wait for %s: %v\n%s", js, err, html)
}

func eval[T any](b *tab, js string) T {
	b.d.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](js))
	if err != nil {
		b.d.t.Fatalf("evaluate %s: %v", js, err)
	}
	return v
}

func (b *tab) signIn(username string) {
	b.d.t.Helper()
	b.open("/signin")
	b.write("#username", username)
	b.write("#password", password)
	b.follow("form.panel button")
}

func (b *tab) signOut() {
	b.d.t.Helper()
	b.follow(`form[action="/signout"] button`)
}

// check takes a picture of the page if the environment names a folder for
// them, and looks for what makes a page hard to use.
func (b *tab) check(name string) {
	b.d.t.Helper()
	if folder := os.Getenv("CLASSMESH_PICTURES"); folder != "" {
		png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
		if err == nil {
			err = os.WriteFile(filepath.Join(folder, name+".png"), png, 0o644)
		}
		if err != nil {
			b.d.t.Error(err)
		}
	}
	for _, fault := range eval[[]string](b, faultsJS) {
		b.d.t.Errorf("page %s: %s", name, fault)
	}
}

// faultsJS finds: pages that scroll sideways (from right to left as well), controls without a name, more or
// less than one heading of the first rank, IDs that are there twice, text that
// stands out too little from its ground, small things to touch.
const faultsJS = `(() => {
	const faults = [];
	const seen = e => { const r = e.getBoundingClientRect(); return r.width > 1 && r.height > 1 && getComputedStyle(e).visibility !== "hidden"; };
	const name = e => e.tagName.toLowerCase() + (e.id ? "#" + e.id : "") + " " + (e.textContent || "").trim().slice(0, 40);
	const root = document.documentElement;
	if (root.scrollWidth > root.clientWidth) faults.push("is " + root.scrollWidth + " wide in " + root.clientWidth);
	const top = document.querySelector(".top").getBoundingClientRect();
	if (top.left !== 0 || top.right !== root.clientWidth) faults.push("lies from " + top.left + " to " + top.right + " in " + root.clientWidth);
	if (!root.lang || !root.dir) faults.push("has no lang or dir");
	if (!document.title.trim()) faults.push("has no title");
	if (document.querySelectorAll("h1").length !== 1) faults.push("has " + document.querySelectorAll("h1").length + " headings of the first rank");
	const ids = new Set();
	for (const e of document.querySelectorAll("[id]")) { if (ids.has(e.id)) faults.push("has twice the ID " + e.id); ids.add(e.id); }
	for (const e of document.querySelectorAll("[aria-labelledby],[aria-describedby]"))
		for (const a of ["aria-labelledby", "aria-describedby"])
			for (const id of (e.getAttribute(a) || "").split(" ").filter(x => x))
				if (!document.getElementById(id)) faults.push("names the missing ID " + id);
	for (const e of document.querySelectorAll("input:not([type=hidden]), select, textarea"))
		if (!e.labels.length && !e.getAttribute("aria-label")) faults.push("has a control without a label: " + name(e));
	for (const e of document.querySelectorAll("a[href], button"))
		if (!e.textContent.trim() && !e.getAttribute("aria-label")) faults.push("has a nameless link or button: " + e.outerHTML.slice(0, 80));
	for (const e of document.querySelectorAll("button, .button, nav a, .option"))
		if (seen(e) && e.getBoundingClientRect().height < 32) faults.push("has a control of " + e.getBoundingClientRect().height + " pixels: " + name(e));
	const parse = c => { const m = c.match(/[\d.]+/g).map(Number); return { r: m[0], g: m[1], b: m[2], a: m.length > 3 ? m[3] : 1 }; };
	const lum = c => { const f = x => { x /= 255; return x <= 0.03928 ? x / 12.92 : Math.pow((x + 0.055) / 1.055, 2.4); }; return 0.2126 * f(c.r) + 0.7152 * f(c.g) + 0.0722 * f(c.b); };
	const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	while (walker.nextNode()) {
		const e = walker.currentNode.parentElement;
		if (!walker.currentNode.textContent.trim() || !seen(e) || ["SCRIPT", "STYLE", "NOSCRIPT", "VIDEO"].includes(e.tagName)) continue;
		let ground = e, bg = { r: 255, g: 255, b: 255 };
		for (; ground; ground = ground.parentElement) { const c = parse(getComputedStyle(ground).backgroundColor); if (c.a === 1) { bg = c; break; } }
		const style = getComputedStyle(e), fg = lum(parse(style.color)), bl = lum(bg);
		const ratio = (Math.max(fg, bl) + 0.05) / (Math.min(fg, bl) + 0.05);
		const size = parseFloat(style.fontSize), large = size >= 24 || size >= 18.66 && style.fontWeight >= 700;
		if (ratio < (large ? 3 : 4.5)) faults.push("has a contrast of " + ratio.toFixed(2) + ": " + name(e));
	}
	const dir = root.dir;
	root.dir = "rtl";
	if (root.scrollWidth > root.clientWidth) faults.push("is " + root.scrollWidth + " wide in " + root.clientWidth + " from right to left");
	root.dir = dir;
	return faults;
})()`

// answerQuestion answers the question on the page, as the pupil would.
func (b *tab) answerQuestion(exercise string, right bool) {
	b.d.t.Helper()
	item := eval[string](b, `document.querySelector("input[name=item]").value`)
	seed := eval[string](b, `document.querySelector("input[name=seed]").value`)
	var n uint64
	if _, err := fmt.Sscan(seed, &n); err != nil {
		b.d.t.Fatal(err)
	}
	answer := b.d.rightAnswer(exercise, item, n)
	if eval[bool](b, `Boolean(document.querySelector("input[type=radio]"))`) {
		pick := `input[value="` + answer + `"]`
		if !right {
			pick = `input[type=radio]:not([value="` + answer + `"])`
		}
		b.click(pick)
	} else {
		if !right {
			answer = "9999"
		}
		b.write("#answer", answer)
	}
	b.click("#check")
	b.wait(`!document.getElementById("next").hidden`)
}

// TestInBrowser is a morning at school: a learner signs in, answers ten
// questions and watches the video, the teacher sees it, all on a small phone.
func TestInBrowser(t *testing.T) {
	ctx := newChromium(t)
	d := newDevice(t)
	b := newTab(d, ctx)
	b.size(360, 640)

	b.open("/")
	b.check("signin")
	b.write("#username", "amina")
	b.write("#password", "wrong")
	b.follow("form.panel button")
	b.check("signin-wrong")
	if got := eval[string](b, `document.getElementById("problem").textContent`); !strings.Contains(got, "do not match") {
		t.Errorf("a wrong password is answered with %q", got)
	}
	b.signIn("amina")
	b.check("topics")

	b.follow(`a[href="/exercises/fractions-practice"]`)
	b.check("exercise")
	b.write("#answer", "what?")
	b.click("#check")
	b.wait(`!document.getElementById("slip").hidden && !document.getElementById("check").disabled`)
	b.check("exercise-slip")
	b.click("#hint")
	b.wait(`!document.querySelector("#hints li").hidden`)
	b.check("exercise-hint")
	for i := range 10 {
		b.answerQuestion("fractions-practice", i != 1)
		if i < 3 || i == 9 {
			b.check(fmt.Sprint("exercise-answered-", i))
		}
		if i < 9 {
			b.follow("#next a")
		}
	}
	sum := d.progress(d.learner).Exercises[0]
	if sum.Attempts != 10 || sum.Right != 8 || sum.Status != classroom.StatusComplete {
		t.Errorf("after ten answers: %+v", sum)
	}
	b.open("/exercises/fractions-basics")
	b.check("exercise-choice")

	b.open("/videos/fractions-meaning")
	b.wait(`document.getElementById("video").readyState >= 2`)
	b.check("video")
	if !eval[bool](b, `Array.from(document.getElementById("video").textTracks).some(t => t.language === "en" && t.mode === "showing")`) {
		t.Error("the captions are not shown")
	}
	// At four times the speed, 42 seconds take ten.
	b.do("play", chromedp.Evaluate[chromedp.Void](`(() => { const v = document.getElementById("video"); v.muted = true; v.playbackRate = 4; v.play(); })()`))
	b.wait(`document.getElementById("video").currentTime > 20`)
	b.wait(`document.getElementById("video").ended`)
	b.wait(`!document.getElementById("complete").hidden`)
	b.check("video-watched")
	if v := d.progress(d.learner).Videos[0]; v.Coverage < 0.95 || v.Status != classroom.StatusComplete {
		t.Errorf("after watching: %+v", v)
	}
	b.open("/progress")
	b.check("progress")
	b.open("/status")
	b.check("status-learner")
	b.open("/nowhere")
	b.check("problem")
	b.signOut()

	d.setSync(web.Sync{State: web.StateOffline, Reason: "unreachable", Address: "203.0.113.5:443",
		LastOK: d.now().Add(-20 * time.Minute), NotYetSafe: 12, LastError: "dial 203.0.113.5:443: timeout"})
	b.signIn("teacher")
	b.check("classes")
	b.follow(`a[href="/classes/` + d.class.String() + `"]`)
	b.check("class-phone")
	b.size(1200, 800)
	b.check("class")
	if got := eval[int](b, `document.querySelectorAll("td.cell.complete").length`); got != 2 {
		t.Errorf("%d cells are complete in the class table", got)
	}
	b.follow(`tbody th a`)
	b.check("learner")
	b.click(`details:has(#name) summary`)
	b.check("learner-change")
	b.write("#name", "Amina Okafor-Bello")
	b.follow(`details:has(#name) button`)
	b.wait(`document.querySelector("h1").textContent === "Amina Okafor-Bello"`)
	b.follow(`a[href$="/exercises/fractions-practice"]`)
	b.check("attempts")
	b.size(360, 640)
	b.check("attempts-phone")
	b.open("/status")
	b.check("status-waiting")
	d.setSync(web.Sync{State: web.StateConnected})
	b.wait(`document.querySelector(".verdict-panel.safe") !== null`) // by itself
	b.check("status-safe")
	b.wait(`document.querySelector("[data-badge].safe") !== null`)
}

// TestMeshInBrowser looks at the drawing of the devices on a phone and on a
// desk, and sees it follow what happens.
func TestMeshInBrowser(t *testing.T) {
	ctx := newChromium(t)
	d := newDevice(t)
	b := newTab(d, ctx)
	b.size(360, 640)
	m := d.members
	six := uint64(6)
	d.setSync(web.Sync{State: web.StateConnected})
	d.setMesh(web.Mesh{Peers: []web.MeshPeer{
		linked(m[0], m[2]), {Device: m[1], State: web.PeerConnected, Transport: "websocket", Via: []string{"typed"}, Lacks: &six},
		{Device: m[2], State: web.PeerKnown, Uplink: true}, {Device: m[3], State: web.PeerAway, Address: "10.0.0.6:7701", Via: []string{"remembered"}}}})
	b.signIn("teacher")
	b.open("/status")
	b.follow(`a[href="/status/mesh"]`)
	b.check("mesh-phone")
	b.size(1200, 800)
	b.check("mesh")
	d.setSync(web.Sync{State: web.StateOffline, NotYetSafe: 3})
	d.setMesh(web.Mesh{Problems: []web.MeshProblem{{Name: "isolated"}}, Peers: []web.MeshPeer{{Device: m[0], State: web.PeerAway}}})
	b.wait(`document.querySelector(".mesh .away") !== null && document.querySelectorAll(".mesh line.own").length === 0`) // by itself
	b.check("mesh-apart")
	b.size(360, 640)
	b.check("mesh-apart-phone")
}

// TestLanguagesInBrowser opens the pages in every language but English, on a
// phone and on a desk.
func TestLanguagesInBrowser(t *testing.T) {
	ctx := newChromium(t)
	d := newDevice(t)
	b := newTab(d, ctx)
	m := d.members
	six := uint64(6)
	d.setSync(web.Sync{State: web.StateConnected, NotYetSafe: 12, Peers: []web.SyncPeer{{Device: m[0], Name: otherRooms[0], Equal: true}}})
	d.setMesh(web.Mesh{Problems: []web.MeshProblem{{Name: "isolated"}}, Peers: []web.MeshPeer{
		linked(m[0], m[2]), {Device: m[1], State: web.PeerConnected, Transport: "websocket", Via: []string{"typed"}, Lacks: &six},
		{Device: m[2], State: web.PeerKnown, Uplink: true}, {Device: m[3], State: web.PeerAway, Address: "10.0.0.6:7701", Via: []string{"remembered"}}}})
	for _, username := range []string{"amina2", "zahra"} { // one who looks like somebody else, one who is removed
		if _, err := classroom.AddUser(t.Context(), d.replica, d.gate, d.teacher, classroom.NewUser{Name: "Amina Okafor", Username: username}); err != nil {
			t.Fatal(err)
		}
	}
	removed := d.roll().People[2]
	old, err := classroom.AddGroup(t.Context(), d.replica, d.teacher, "Class of last year, with a long name", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range []classroom.Target{classroom.UserTarget(removed.ID), classroom.GroupTarget(old)} {
		if err := classroom.Hide(t.Context(), d.replica, d.teacher, target, ""); err != nil {
			t.Fatal(err)
		}
	}
	for _, lang := range []string{"ar", "es", "fr"} {
		_, err := classroom.AddUser(t.Context(), d.replica, d.gate, identity.UserID{}, classroom.NewUser{
			Name: "Head " + lang, Username: "head-" + lang, Password: password, Language: lang, Role: classroom.RoleAdministrator,
		})
		if err != nil {
			t.Fatal(err)
		}
		b.size(360, 640)
		b.signIn("head-" + lang)
		for _, path := range []string{
			"/topics", "/exercises/fractions-practice", "/exercises/fractions-basics", "/videos/fractions-meaning", "/progress", "/classes", "/people",
			"/classes/" + d.class.String(), "/learners/" + d.learner.String(), "/status", "/status/mesh", "/nowhere",
		} {
			for _, width := range []int64{360, 1200} {
				b.size(width, 800)
				b.open(path)
				b.do("open what can be opened", chromedp.Evaluate[chromedp.Void](`void document.querySelectorAll("details").forEach(d => d.open = true)`))
				name := strings.Split(path, "/")[1]
				if path == "/status/mesh" {
					name = "mesh"
				}
				b.check(fmt.Sprint(name, "-", lang, "-", width))
			}
			if got := eval[string](b, `document.documentElement.lang + " " + document.documentElement.dir`); got != lang+" rtl" && (lang == "ar" || got != lang+" ltr") {
				t.Errorf("%s is in %s", path, got)
			}
		}
		b.signOut()
	}
}

// TestAnswerSurvivesLostConnection: an answer given while the device cannot be
// reached is recorded, once, when it can be again, and the page says so.
func TestAnswerSurvivesLostConnection(t *testing.T) {
	ctx := newChromium(t)
	d := newDevice(t)
	b := newTab(d, ctx)
	b.signIn("amina")
	b.open("/exercises/fractions-practice")
	// The request arrives, but the answer is lost; then nothing gets through;
	// then the connection is there again.
	b.do("cut", chromedp.Evaluate[chromedp.Void](`(() => {
		const real = window.fetch; let n = 0;
		window.fetch = (...a) => {
			n++;
			if (n === 1) return real(...a).then(() => { throw new TypeError("lost"); });
			if (n === 2) return Promise.reject(new TypeError("cut"));
			return real(...a);
		};
	})()`))
	item := eval[string](b, `document.querySelector("input[name=item]").value`)
	seed := eval[float64](b, `Number(document.querySelector("input[name=seed]").value)`)
	b.write("#answer", d.rightAnswer("fractions-practice", item, uint64(seed)))
	b.click("#check")
	b.wait(`!document.getElementById("unsaved").hidden`)
	b.wait(`document.getElementById("unsaved").hidden && !document.querySelector("[data-verdict=right]").hidden`)
	if sum := d.progress(d.learner).Exercises[0]; sum.Attempts != 1 || sum.Right != 1 {
		t.Errorf("recorded: %+v", sum)
	}
}

// TestViewingOfThoseWhoLeave: what was watched is recorded although the page
// is left while the film runs.
func TestViewingOfThoseWhoLeave(t *testing.T) {
	ctx := newChromium(t)
	d := newDevice(t)
	b := newTab(d, ctx)
	b.signIn("amina")
	b.open("/videos/fractions-meaning")
	b.wait(`document.getElementById("video").readyState >= 2`)
	b.do("play from 10", chromedp.Evaluate[chromedp.Void](`(() => { const v = document.getElementById("video"); v.muted = true; v.currentTime = 10; v.playbackRate = 4; v.play(); })()`))
	b.wait(`document.getElementById("video").currentTime > 16`)
	b.open("/topics")
	deadline := time.Now().Add(20 * time.Second)
	for len(d.progress(d.learner).Videos) == 0 && time.Now().Before(deadline) {
		b.wait(`true`)
	}
	videos := d.progress(d.learner).Videos
	if len(videos) != 1 || videos[0].PlayedS < 4 || videos[0].PlayedS > 12 {
		t.Errorf("recorded: %+v", videos)
	}
}
