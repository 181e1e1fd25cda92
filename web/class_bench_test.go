package web_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"testing/fstest"
	"time"

	"github.com/classmesh/classmesh/records/boltstore"
	"github.com/classmesh/classmesh/records/classroom"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/web/content"
)

// manyLessons returns a library of n contents, every fifth a video.
func manyLessons(t testing.TB, n int) *content.Library {
	t.Helper()
	type text map[string]string
	type object = map[string]any
	files := fstest.MapFS{}
	var ids []string
	var exercises, videos []object
	for i := range n {
		id := fmt.Sprintf("lesson-%03d", i)
		ids = append(ids, id)
		c := object{"id": id, "title": text{"en": fmt.Sprint("Lesson ", i+1)}, "description": text{"en": "One of many."}, "points": 100}
		if i%5 == 4 {
			c["file"], c["duration_s"] = id+".webm", 100
			files[id+".webm"] = &fstest.MapFile{Data: []byte("no film")}
			videos = append(videos, c)
			continue
		}
		delete(c, "points")
		c["items"] = []object{{
			"id": "one", "prompt": text{"en": "Which?"}, "hints": []text{},
			"choice": object{"correct": "this", "options": []object{
				{"id": "this", "text": text{"en": "This"}}, {"id": "that", "text": text{"en": "That"}},
			}},
		}}
		exercises = append(exercises, c)
	}
	manifest, err := json.Marshal(object{
		"format": 1, "id": "many", "version": 1, "languages": []string{"en"},
		"title": text{"en": "Many"}, "description": text{"en": "Many lessons."},
		"topics": []object{{
			"id": "lessons", "title": text{"en": "Lessons"}, "description": text{"en": "All of them."}, "contents": ids,
		}},
		"videos": videos, "exercises": exercises,
	})
	if err != nil {
		t.Fatal(err)
	}
	files["pack.json"] = &fstest.MapFile{Data: manifest}
	pack, err := content.Load(files)
	if err != nil {
		t.Fatal(err)
	}
	library, err := content.NewLibrary(pack)
	if err != nil {
		t.Fatal(err)
	}
	return library
}

// school is a device with a class of 40 that has worked at 100 contents, among
// a thousand others.
type school struct {
	*device
	class   classroom.GroupID
	learner identity.UserID // one of the class
	cookies []*http.Cookie  // of the teacher
	child   []*http.Cookie  // of the learner
	written int
}

func newSchool(b testing.TB) *school {
	store, err := boltstore.Create(filepath.Join(b.TempDir(), "records.db"), boltstore.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { store.Close() })
	s := &school{device: newDeviceIn(b, store)}
	s.library = manyLessons(b, 100)
	s.config.Library = s.library
	s.start()
	c := classroom.GenerateConfig{
		Replica: s.replica, Gate: s.gate, Learners: 40, ClassSize: 40, Days: 120, Seed: 1, Until: s.now(), Password: password, Batch: 4000,
	}
	for _, lesson := range s.library.Contents() {
		if v := lesson.Video; v != nil {
			c.Videos = append(c.Videos, classroom.GeneratedVideo{ID: v.ID, Duration: v.Duration, Worth: v.Points})
		} else {
			c.Exercises = append(c.Exercises, classroom.GeneratedExercise{ID: lesson.Exercise.ID, Items: lesson.Exercise.Items(), Needed: 8, Base: 10})
		}
	}
	own, err := classroom.Generate(b.Context(), c)
	if err != nil {
		b.Fatal(err)
	}
	c.Learners, c.Days, c.Seed, c.Password = 1000, 2, 2, ""
	if _, err := classroom.Generate(b.Context(), c); err != nil {
		b.Fatal(err)
	}
	s.device.class, s.class, s.learner = own.Classes[0], own.Classes[0], own.Learners[0]
	s.cookies, s.child = s.cookiesOf("teacher"), s.cookiesOf(own.Usernames[0])
	return s
}

// cookiesOf signs somebody in.
func (s *school) cookiesOf(username string) []*http.Cookie {
	b := s.signedIn(username)
	r := b.request("GET", "/", nil)
	return b.client.Jar.Cookies(r.URL)
}

// visit asks for a page without a network.
func (s *school) visit(path string, cookies []*http.Cookie, zipped bool) {
	r := httptest.NewRequest("GET", path, nil)
	for _, c := range cookies {
		r.AddCookie(c)
	}
	if zipped {
		r.Header.Set("Accept-Encoding", "gzip")
	}
	w := httptest.NewRecorder()
	s.server.Config.Handler.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		s.t.Fatalf("GET %s: %d\n%s", path, w.Code, w.Body)
	}
}

// write records an answer of somebody in the class.
func (s *school) write() {
	s.written++
	_, err := classroom.RecordAttempt(s.t.Context(), s.replica, classroom.MarkedAnswer{
		Learner: s.learner, Exercise: "lesson-000", Item: "one", Seed: uint64(s.written), Answer: "this", Chosen: true,
		Correct: true, Taken: time.Second, Language: "en", Needed: 8, Base: 10,
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// BenchmarkPages asks for what people open most, at the server: the first time
// after a start, after somebody has answered, and once more.
func BenchmarkPages(b *testing.B) {
	s := newSchool(b)
	for _, page := range []struct {
		name, path string
		cookies    []*http.Cookie
	}{
		{"class", "/classes/" + s.class.String(), s.cookies},
		{"json", "/api/v1/class?class=" + s.class.String(), s.cookies},
		{"drilldown", "/learners/" + s.learner.String(), s.cookies},
		{"attempts", "/learners/" + s.learner.String() + "/exercises/lesson-000", s.cookies},
		{"topics", "/topics", s.child},
		{"progress", "/progress", s.child},
	} {
		b.Run(page.name+"/first", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				s.start()
				b.StartTimer()
				s.visit(page.path, page.cookies, true)
			}
		})
		b.Run(page.name+"/changed", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				s.write()
				b.StartTimer()
				s.visit(page.path, page.cookies, true)
			}
		})
		b.Run(page.name+"/again", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s.visit(page.path, page.cookies, true)
			}
		})
	}
}
