package web_test

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/classmesh/classmesh/records/classroom"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
)

// person reads who has an ID now.
func (d *device) person(id identity.UserID) *classroom.Person { return d.roll().Person(id) }

// changeForm returns the form by which somebody is changed, as the page shows it.
func (d *device) changeForm(b *browser, id identity.UserID) url.Values {
	d.t.Helper()
	form := hidden(b.get("/learners/"+id.String(), 200).body)
	form.Del("next")
	form.Set("name", form.Get("was_name"))
	form.Set("username", form.Get("was_username"))
	form.Set("language", form.Get("was_language"))
	form["class"] = slices.Clone(form["was_class"])
	return form
}

// TestTeacherChangesLearner: of a form, what was changed in it is written, and nothing
// else; a form that is refused loses nothing that was typed.
func TestTeacherChangesLearner(t *testing.T) {
	d := newDevice(t)
	b := d.signedIn("teacher")
	second, err := classroom.AddGroup(t.Context(), d.replica, d.teacher, "Class 6B", "")
	if err != nil {
		t.Fatal(err)
	}
	path := "/learners/" + d.learner.String()
	form := d.changeForm(b, d.learner)
	if form.Get("was_name") != "Amina Okafor" || form.Get("was_language") != "en" || !slices.Equal(form["was_class"], []string{d.class.String()}) {
		t.Fatalf("the form shows %v", form)
	}
	// While it is open, somebody else changes the user name.
	other := "amina.o"
	if err := classroom.EditPerson(t.Context(), d.replica, d.teacher, d.learner, classroom.PersonEdit{Username: &other}); err != nil {
		t.Fatal(err)
	}
	form.Set("name", " Amina Okafor-Bello ")
	form.Set("language", "fr")
	form["class"] = []string{second.String()}
	if a := b.post(path, form.Encode(), 200); !strings.Contains(a.body, "Saved.") || !strings.Contains(a.body, "<h1>Amina Okafor-Bello</h1>") {
		t.Errorf("leads to %s: %s", a.path, a.body)
	}
	p := d.person(d.learner)
	if p.Name != "Amina Okafor-Bello" || p.Username != other || p.Language != "fr" || !slices.Equal(p.Groups, []classroom.GroupID{second}) {
		t.Errorf("after the form: %+v", p)
	}

	for what, set := range map[string]func(url.Values){
		"no name":                 func(f url.Values) { f.Set("name", " ") },
		"a long name":             func(f url.Values) { f.Set("name", strings.Repeat("x", 300)) },
		"nothing to sign in with": func(f url.Values) { f.Set("username", "") },
		"no such tongue":          func(f url.Values) { f.Set("language", "tlh") },
		"no class":                func(f url.Values) { f.Add("class", "group-nothing") },
		"a class unknown":         func(f url.Values) { f.Add("class", classroom.GroupID{9}.String()) },
	} {
		form := d.changeForm(b, d.learner)
		form.Set("name", "Typed")
		form.Del("class")
		set(form)
		status := 400
		if strings.Contains(what, "class") {
			status = 404
		}
		a := b.post(path, form.Encode(), status)
		if !strings.Contains(a.body, `role="alert"`) || !strings.Contains(what, "name") && !strings.Contains(a.body, `value="Typed"`) {
			t.Errorf("%s: %s", what, a.body)
		}
		if now := d.person(d.learner); now.Name != p.Name || len(now.Groups) != 1 {
			t.Errorf("%s: written %+v", what, now)
		}
	}
}

// TestWhoMayChangeWhom: staff change those with a lesser role, learners nobody but their
// own language.
func TestWhoMayChangeWhom(t *testing.T) {
	d := newDevice(t)
	head, err := classroom.AddUser(t.Context(), d.replica, d.gate, d.teacher, classroom.NewUser{Name: "Head", Username: "head", Password: password, Role: classroom.RoleAdministrator})
	if err != nil {
		t.Fatal(err)
	}
	learner, teacher, admin := d.signedIn("amina"), d.signedIn("teacher"), d.signedIn("head")
	for _, c := range []struct {
		by     *browser
		whom   identity.UserID
		status int
	}{{learner, d.learner, 403}, {learner, d.other, 403}, {teacher, d.teacher, 403}, {teacher, head, 403}, {admin, head, 403}, {teacher, identity.UserID{9}, 404}} {
		path := "/learners/" + c.whom.String()
		c.by.post(path, "name=Other&was_name=", c.status)
		c.by.post(path+"/hidden", "", c.status)
		c.by.post(path+"/hidden", "hidden=no", c.status)
		c.by.post(path+"/join", "other="+d.other.String(), c.status)
		c.by.post(path+"/part", "", c.status)
	}
	for _, path := range []string{"/classes/" + d.class.String(), "/classes/" + d.class.String() + "/hidden"} {
		learner.post(path, "name=Mine", 403)
	}
	if body := teacher.get("/learners/"+d.teacher.String(), 200).body; strings.Contains(body, "/hidden") {
		t.Error("a teacher is offered to remove themselves")
	}
	teacher.post("/learners/"+d.learner.String()+"/join", "other="+d.teacher.String(), 403)
	admin.post("/learners/"+d.teacher.String(), url.Values{"name": {"Mr Silva"}, "was_name": {"Ms Rosa Silva"}}.Encode(), 200)
	if p := d.person(d.teacher); p.Name != "Mr Silva" || p.Username != "teacher" {
		t.Errorf("a teacher, changed by an administrator: %+v", p)
	}
	// A teacher who has left is removed by an administrator, and is no matter of teachers.
	leaver, err := classroom.AddUser(t.Context(), d.replica, d.gate, d.teacher, classroom.NewUser{Name: "Mr Tom Reed", Username: "tom", Password: password, Role: classroom.RoleTeacher})
	if err != nil {
		t.Fatal(err)
	}
	if a := admin.post("/learners/"+leaver.String()+"/hidden", "", 200); !strings.Contains(a.body, "Show Mr Tom Reed again") {
		t.Errorf("leads to %s: %s", a.path, a.body)
	}
	if strings.Contains(teacher.get("/people", 200).body, "Reed") {
		t.Error("a teacher is offered to show another again")
	}
	if p := d.person(d.learner); p.Name != "Amina Okafor" || p.Hidden || len(p.IDs) != 1 {
		t.Errorf("changed by who may not: %+v", p)
	}

	if a := learner.post("/language", "language=ar&next="+url.QueryEscape("/progress"), 200); a.path != "/progress" || !strings.Contains(a.body, `lang="ar" dir="rtl"`) {
		t.Errorf("in another language: %s", a.path)
	}
	if a := learner.post("/language", "language=fr&next="+url.QueryEscape("//elsewhere.example/"), 200); a.path != "/topics" {
		t.Errorf("leads to %s", a.path)
	}
	learner.post("/language", "language=tlh", 400)
	if a := d.browser().post("/language", "language=fr", 200); a.path != "/signin" {
		t.Errorf("nobody is led to %s", a.path)
	}
}

// TestRemovedAndShownAgain: who is removed is signed out and in no list, and after being
// shown again everything is as before.
func TestRemovedAndShownAgain(t *testing.T) {
	d := newDevice(t)
	b, child := d.signedIn("teacher"), d.signedIn("amina")
	path, class := "/learners/"+d.learner.String(), "/classes/"+d.class.String()
	a := b.post(path+"/hidden", "", 200)
	if !strings.HasPrefix(a.path, "/people") || !strings.Contains(a.body, "Amina Okafor was removed") || !strings.Contains(a.body, "Show Amina Okafor again") {
		t.Fatalf("leads to %s: %s", a.path, a.body)
	}
	b.get(path, 404)
	if body := b.get(class, 200).body; strings.Contains(body, "Amina") {
		t.Error("the class shows who was removed")
	}
	if a := child.get("/topics", 200); !strings.HasPrefix(a.path, "/signin") {
		t.Errorf("who was removed is still signed in, at %s", a.path)
	}
	d.browser().json("POST", "/api/v1/session", map[string]string{"username": "amina", "password": password}, 401)
	b.post(path, url.Values{"name": {"Hidden Amina"}, "was_name": {"Amina Okafor"}}.Encode(), 404)
	if p := d.person(d.learner); p.Name != "Amina Okafor" {
		t.Errorf("changed while removed: %+v", p)
	}
	if a = b.post(path+"/hidden", "hidden=no", 200); !strings.Contains(a.body, "Is shown again") || !strings.Contains(a.body, d.class.String()) {
		t.Errorf("leads to %s: %s", a.path, a.body)
	}
	d.signedIn("amina")
	if strings.Contains(b.get("/people", 200).body, "Amina") {
		t.Error("still among the removed")
	}
	form := d.changeForm(b, d.learner)
	form.Del("class")
	b.post(path, form.Encode(), 200)
	if !strings.Contains(b.get("/people", 200).body, path) {
		t.Error("who is in no class cannot be found")
	}

	if a = b.post(class, "name=+", 400); !strings.Contains(a.body, `role="alert"`) || !strings.Contains(a.body, "Bako") {
		t.Errorf("a class without a name: %s", a.body)
	}
	if a = b.post(class, "name=Class+5C", 200); !strings.Contains(a.body, "<h1>Class 5C</h1>") || !strings.Contains(a.body, "has a new name") {
		t.Errorf("renamed: %s", a.body)
	}
	if a = b.post(class+"/hidden", "", 200); !strings.HasPrefix(a.path, "/people") || !strings.Contains(a.body, "Class 5C was removed") || !strings.Contains(a.body, "Bako") {
		t.Errorf("leads to %s: %s", a.path, a.body)
	}
	b.get(class, 404)
	b.post("/classes/"+classroom.GroupID{9}.String()+"/hidden", "", 404)
	if a = b.post(class+"/hidden", "hidden=no", 200); a.path != class || !strings.Contains(a.body, "Bako") {
		t.Errorf("leads to %s: %s", a.path, a.body)
	}
}

// TestTwiceTheSameChild: two entries that look alike are offered to be put together, which
// adds their work up, and can be taken apart again.
func TestTwiceTheSameChild(t *testing.T) {
	d := newDevice(t)
	twin, err := classroom.AddUser(t.Context(), d.replica, d.gate, d.teacher, classroom.NewUser{Name: "amina  okafor", Username: "amina2", Password: "second", Groups: []classroom.GroupID{d.class}})
	if err != nil {
		t.Fatal(err)
	}
	b := d.signedIn("teacher")
	path := "/learners/" + d.learner.String()
	if body := b.get("/learners/"+d.other.String(), 200).body; strings.Contains(body, "Twice the same child") {
		t.Error("offered to put together who does not look alike")
	}
	// Nobody has set the language of the twin: the form says so, and can set any.
	form := d.changeForm(b, twin)
	form.Set("name", "amina okafor")
	b.post("/learners/"+twin.String(), form.Encode(), 200)
	if p := d.person(twin); p.Language != "" || p.Name != "amina okafor" {
		t.Errorf("with another name: %+v", p)
	}
	form = d.changeForm(b, twin)
	form.Set("language", "en")
	b.post("/learners/"+twin.String(), form.Encode(), 200)
	if p := d.person(twin); p.Language != "en" {
		t.Errorf("with a language: %+v", p)
	}

	child := d.signedIn("amina")
	body := b.get(path, 200).body
	if !strings.Contains(body, "Twice the same child") || !strings.Contains(body, twin.String()) || strings.Contains(body, path+"/part") {
		t.Fatalf("not offered: %s", body)
	}
	a := b.post(path+"/join", "other="+twin.String(), 200)
	if !strings.Contains(a.body, "were put together") || strings.Contains(a.body, "Twice the same child") || !strings.Contains(a.body, "2 entries") {
		t.Errorf("says %s", a.body)
	}
	if a = b.post("/learners/"+twin.String()+"/join", "other="+d.learner.String(), 200); !strings.Contains(a.body, "were put together") {
		t.Errorf("a second tap: %s", a.body)
	}
	if p := d.person(twin); len(p.IDs) != 2 || len(d.roll().Class(d.class).Learners()) != 2 {
		t.Errorf("put together: %+v", p)
	}
	// Both user names go on working, and what is done is kept under the one it is done with.
	second := d.browser()
	second.json("POST", "/api/v1/session", map[string]string{"username": "amina2", "password": "second"}, 200)
	for n, who := range []*browser{child, second, second} {
		if got := who.answer("fractions-practice", fmt.Sprint(n)); got != n+1 {
			t.Errorf("together: %d answers, want %d", got, n+1)
		}
	}
	for _, who := range []*browser{child, second} {
		who.json("POST", "/api/v1/viewings", map[string]any{"video": "fractions-meaning", "from_s": 0, "to_s": 5}, 200)
	}
	if a = b.post("/learners/"+twin.String()+"/part", "", 200); !strings.Contains(a.body, "were taken apart") {
		t.Errorf("says %s", a.body)
	}
	if p := d.person(twin); len(p.IDs) != 1 || p.Name != "amina okafor" {
		t.Errorf("taken apart: %+v", p)
	}
	// Nobody was signed out; and what a question is answered with that comes once more, as
	// there are fewer before it now, is no repeated request.
	for i, who := range []*browser{child, second} {
		if got := who.answer("fractions-practice", fmt.Sprint(2*i)); got != i+2 {
			t.Errorf("apart: %d answers, want %d", got, i+2)
		}
	}
	if one, two := d.progress(d.learner).Videos, d.progress(twin).Videos; len(one) != 1 || len(two) != 1 {
		t.Errorf("watched: %+v and %+v", one, two)
	}
	// Joined with somebody else who has as many IDs, the questions begin where they did with the
	// first; what was answered then is none of theirs.
	third, err := classroom.AddUser(t.Context(), d.replica, d.gate, d.teacher, classroom.NewUser{Name: "Amina Okafor", Username: "amina3"})
	if err != nil {
		t.Fatal(err)
	}
	b.post(path+"/join", "other="+third.String(), 200)
	if got := child.answer("fractions-practice", "0"); got != 3 {
		t.Errorf("with another: %d answers, want 3", got)
	}
	b.post(path+"/part", "", 200)
	b.post(path+"/join", "other="+twin.String(), 200)
	if err := classroom.Part(t.Context(), d.replica, d.teacher, twin, ""); err != nil {
		t.Fatal(err)
	}
	smaller, larger := d.learner, twin
	if smaller.Compare(larger) > 0 {
		smaller, larger = larger, smaller
	}
	for _, step := range []error{
		classroom.Hide(t.Context(), d.replica, d.teacher, classroom.UserTarget(smaller), ""),
		classroom.Join(t.Context(), d.replica, d.teacher, smaller, larger, true, ""),
	} {
		if step != nil {
			t.Fatal(step)
		}
	}
	if a = b.post("/learners/"+larger.String()+"/part", "", 200); !strings.HasPrefix(a.path, "/learners/"+larger.String()) {
		t.Errorf("taken apart from one that was removed: leads to %s", a.path)
	}
	b.post(path+"/join", "other="+d.learner.String(), 400) // with themselves
	b.post(path+"/join", "other=nobody", 404)
}

// answer answers the next question of an exercise, right or wrong, and returns how many
// answers are counted then.
func (b *browser) answer(exercise, id string) int {
	b.d.t.Helper()
	question := b.json("GET", "/api/v1/exercises/"+exercise+"/question", nil, 200)
	got := b.json("POST", "/api/v1/attempts", map[string]any{
		"id": id, "exercise": exercise, "item": question["item"], "seed": question["seed"], "answer": "1",
	}, 200)
	return int(got["progress"].(map[string]any)["attempts"].(float64))
}

// TestRefusedFormKeepsWhatItShowed: what others have changed while a form was open stays, also
// if the form is refused once and sent again.
func TestRefusedFormKeepsWhatItShowed(t *testing.T) {
	d := newDevice(t)
	b := d.signedIn("teacher")
	second, err := classroom.AddGroup(t.Context(), d.replica, d.teacher, "Class 6B", "")
	if err != nil {
		t.Fatal(err)
	}
	path := "/learners/" + d.learner.String()
	form := d.changeForm(b, d.learner)
	name, language := "Amina Bello", "fr"
	if err := classroom.EditPerson(t.Context(), d.replica, d.teacher, d.learner, classroom.PersonEdit{Name: &name, Language: &language, Enter: []classroom.GroupID{second}}); err != nil {
		t.Fatal(err)
	}
	form.Set("username", " ")
	refused := b.post(path, form.Encode(), 400).body
	if !strings.Contains(refused, "Something is missing") || strings.Contains(refused, "not accepted") {
		t.Errorf("says %s", refused)
	}
	again := hidden(refused)
	again["name"], again["language"], again["class"] = form["name"], form["language"], form["class"]
	again.Set("username", "amina.b")
	b.post(path, again.Encode(), 200)
	if p := d.person(d.learner); p.Name != name || p.Language != language || len(p.Groups) != 2 || p.Username != "amina.b" {
		t.Errorf("after the second time: %+v", p)
	}
}

// TestLanguageWithoutTexts: a language in which there are no texts stays if it is not
// changed, and any can be chosen in its place, none as well.
func TestLanguageWithoutTexts(t *testing.T) {
	d := newDevice(t)
	b := d.signedIn("teacher")
	language := "pt-BR"
	if err := classroom.EditPerson(t.Context(), d.replica, d.teacher, d.learner, classroom.PersonEdit{Language: &language}); err != nil {
		t.Fatal(err)
	}
	if body := b.get("/learners/"+d.learner.String(), 200).body; !strings.Contains(body, `<option value="pt-BR" lang="pt-BR" selected>Português<`) {
		t.Errorf("the form does not show the language: %s", body)
	}
	for _, to := range []string{"pt-BR", "en", ""} {
		form := d.changeForm(b, d.learner)
		form.Set("language", to)
		b.post("/learners/"+d.learner.String(), form.Encode(), 200)
		if p := d.person(d.learner); p.Language != to {
			t.Errorf("%q was chosen, and it is %q", to, p.Language)
		}
	}
}

// TestFormsOfRemovedClass: what is sent about a class that was removed meanwhile is refused,
// and nothing of it is written; a form that changes nothing undoes nothing.
func TestFormsOfRemovedClass(t *testing.T) {
	d := newDevice(t)
	b := d.signedIn("teacher")
	class := "/classes/" + d.class.String()
	form := d.changeForm(b, d.other)
	rename := url.Values{"name": {"Class 5A"}, "was_name": {"Class 5A"}}
	b.post(class, "name=Class+5C", 200)
	if a := b.post(class, rename.Encode(), 200); !strings.Contains(a.body, "<h1>Class 5C</h1>") {
		t.Errorf("the old name was written again: %s", a.body)
	}
	b.post(class+"/hidden", "", 200)
	b.post(class+"/hidden", "", 200) // a second tap
	people := len(d.roll().People)
	b.post(class+"/learners", "name=Chidi&username=chidi&password=x", 404)
	b.post("/classes/"+classroom.GroupID{9}.String()+"/learners", "name=Chidi&username=chidi&password=x", 404)
	b.post(class, "name=Mine", 404)
	form.Set("name", "Typed")
	form.Del("was_class")
	if a := b.post("/learners/"+d.other.String(), form.Encode(), 404); !strings.Contains(a.body, "There is no such class") || !strings.Contains(a.body, `value="Typed"`) {
		t.Errorf("into a class that was removed: %s", a.body)
	}
	if roll := d.roll(); len(roll.People) != people || roll.Class(d.class).Name != "Class 5C" || roll.Person(d.other).Name != "Bako Juma" {
		t.Errorf("written: %d people, %+v", len(roll.People), roll.Person(d.other))
	}
}

// TestStaffAmongPeople: an administrator finds every teacher, also one in a class; a teacher
// can neither get at another's account nor learn who was removed.
func TestStaffAmongPeople(t *testing.T) {
	d := newDevice(t)
	add := func(name, username string, role classroom.Role) string {
		id, err := classroom.AddUser(t.Context(), d.replica, d.gate, d.teacher, classroom.NewUser{Name: name, Username: username, Password: password, Role: role, Groups: []classroom.GroupID{d.class}})
		if err != nil {
			t.Fatal(err)
		}
		return "/learners/" + id.String()
	}
	head, reed, deputy := add("Head", "head", classroom.RoleAdministrator), add("Mr Tom Reed", "reed", classroom.RoleTeacher), add("Deputy", "deputy", classroom.RoleAdministrator)
	teacher, admin := d.signedIn("teacher"), d.signedIn("head")
	if body := admin.get("/people", 200).body; !strings.Contains(body, reed) || !strings.Contains(body, deputy) || !strings.Contains(body, head) {
		t.Errorf("an administrator is shown %s", body)
	}
	if body := teacher.get("/people", 200).body; strings.Contains(body, "Reed") || !strings.Contains(body, d.teacher.String()) {
		t.Error("a teacher is shown another to be changed, or not themselves")
	}
	for _, c := range []struct {
		username, whom string
		page, password int // statuses
	}{
		{"amina", reed, 403, 403}, {"teacher", reed, 200, 403}, {"teacher", head, 200, 403}, {"head", reed, 200, 200}, {"head", deputy, 200, 200},
		{"teacher", "/learners/" + d.learner.String(), 200, 200}, {"teacher", "/learners/" + d.teacher.String(), 200, 200},
	} {
		b := d.signedIn(c.username)
		if body := b.get(c.whom, c.page).body; strings.Contains(body, c.whom+"/password") != (c.password == 200) {
			t.Errorf("%s looks at %s: the form for a password is shown or not", c.username, c.whom)
		}
		b.post(c.whom+"/password", url.Values{"password": {password}}.Encode(), c.password)
	}
	teacher = d.signedIn("teacher") // the new password has ended the session
	admin.post(reed+"/hidden", "", 200)
	if body := teacher.get("/people?person="+strings.TrimPrefix(reed, "/learners/"), 200).body; strings.Contains(body, "Reed") {
		t.Error("a teacher is told the name of a teacher who was removed")
	}
	a := admin.get("/people?person="+strings.TrimPrefix(reed, "/learners/"), 200)
	if !strings.Contains(a.body, "Mr Tom Reed was removed") || hidden(a.body).Get("next") != "/people" {
		t.Errorf("after another language the notice is said again, at %q", hidden(a.body)["next"])
	}
}

// TestPlainDevice: a device that may not change people offers no form that it would refuse.
func TestPlainDevice(t *testing.T) {
	d := newDevice(t)
	head, err := classroom.AddUser(t.Context(), d.replica, d.gate, d.teacher, classroom.NewUser{Name: "Head", Username: "head", Password: password, Role: classroom.RoleAdministrator})
	if err != nil {
		t.Fatal(err)
	}
	leaver, err := classroom.AddUser(t.Context(), d.replica, d.gate, d.teacher, classroom.NewUser{Name: "Leaver", Username: "leaver", Password: password, Role: classroom.RoleTeacher})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []identity.UserID{d.other, leaver} {
		d.signedIn("head").post("/learners/"+id.String()+"/hidden", "", 200)
	}
	forms := func(b *browser, path string) (actions []string) {
		for _, m := range regexp.MustCompile(`method="post" action="([^"]*)"`).FindAllStringSubmatch(b.get(path, 200).body, -1) {
			actions = append(actions, m[1])
		}
		return actions
	}
	amina, class, teacher := "/learners/"+d.learner.String(), "/classes/"+d.class.String(), "/learners/"+d.teacher.String()
	for role, want := range map[roster.Role]map[string]int{ // to sign out, and the language, are two
		roster.RoleAdministrates: {"/classes": 3, class: 5, amina: 5, teacher: 5, "/people": 4, "/learners/" + head.String(): 3},
		roster.RoleClassroom:     {"/classes": 3, class: 5, amina: 5, teacher: 2, "/people": 3, "/learners/" + head.String(): 2},
		roster.RolePlain:         {"/classes": 1, class: 1, amina: 1, teacher: 1, "/people": 1, "/learners/" + head.String(): 1},
	} {
		o := d.another(role)
		admin := o.signedIn("head")
		for path, n := range want {
			if got := forms(admin, path); len(got) != n {
				t.Errorf("%v: %s offers %v, want %d", role, path, got, n)
			}
		}
		status := map[bool]int{true: 200, false: 403}
		for _, c := range []struct {
			by            *browser
			path, form    string
			allowed       bool
			refusedSaying string
		}{
			{o.signedIn("amina"), "/language", "language=fr", role != roster.RolePlain, "People and classes cannot be changed"},
			{admin, amina + "/password", "password=x", role != roster.RolePlain, "People and classes cannot be changed"},
			{admin, teacher, "name=Other&was_name=", role == roster.RoleAdministrates, "cannot be changed"},
			{admin, teacher + "/password", "password=x", role == roster.RoleAdministrates, "cannot be changed"},
		} {
			if a := c.by.post(c.path, c.form, status[c.allowed]); !c.allowed && !strings.Contains(a.body, c.refusedSaying) {
				t.Errorf("%v: %s says %s", role, c.path, a.body)
			}
		}
	}
}
