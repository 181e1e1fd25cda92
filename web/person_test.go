package web_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/classmesh/classmesh/records/classroom"
	"github.com/classmesh/classmesh/records/identity"
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

	body := b.get(path, 200).body
	if !strings.Contains(body, "Twice the same child") || !strings.Contains(body, twin.String()) || strings.Contains(body, path+"/part") {
		t.Fatalf("not offered: %s", body)
	}
	a := b.post(path+"/join", "other="+twin.String(), 200)
	if !strings.Contains(a.body, "were put together") || strings.Contains(a.body, "Twice the same child") || !strings.Contains(a.body, "2 entries") {
		t.Errorf("says %s", a.body)
	}
	if p := d.person(twin); len(p.IDs) != 2 || len(d.roll().Class(d.class).Learners()) != 2 {
		t.Errorf("put together: %+v", p)
	}
	d.signedIn("amina") // both user names go on working
	d.browser().json("POST", "/api/v1/session", map[string]string{"username": "amina2", "password": "second"}, 200)
	if a = b.post("/learners/"+twin.String()+"/part", "", 200); !strings.Contains(a.body, "were taken apart") {
		t.Errorf("says %s", a.body)
	}
	if p := d.person(twin); len(p.IDs) != 1 || p.Name != "amina okafor" {
		t.Errorf("taken apart: %+v", p)
	}
	b.post(path+"/join", "other="+d.learner.String(), 400)
	b.post(path+"/join", "other=nobody", 404)
}
