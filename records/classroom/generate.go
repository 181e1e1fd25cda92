package classroom

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
)

// GenerateConfig says what classes to make up. Replica and one of Learners
// and Enrolled are required, and Gate where there is a password.
type GenerateConfig struct {
	Replica  *records.Replica
	Gate     *Gate
	Learners int // to be enrolled
	// Enrolled are learners that are known already, perhaps by another device
	// only. They work too: so several devices make up the work of one school,
	// each with learners that it shares with others.
	Enrolled  []identity.UserID
	ClassSize int    // 0 means 30
	Days      int    // of activity, weekends included
	Seed      uint64 // the same seed makes up the same
	Until     time.Time
	Password  string // of all learners; empty: they cannot sign in
	Exercises []GeneratedExercise
	Videos    []GeneratedVideo
	// Batch is how many answers and viewings are written at once; 0 means 256.
	// Large batches are for load: whole classes then share one commit.
	Batch int
	// SetTime, if given, is told the time of day that is made up before each
	// write, for a replica whose clock follows it.
	SetTime func(time.Time)
}

// GeneratedExercise is an exercise to be practised.
type GeneratedExercise struct {
	ID           string
	Items        []string
	Needed, Base int
}

// GeneratedVideo is a video to be watched.
type GeneratedVideo struct {
	ID       string
	Duration time.Duration
	Worth    int
}

// Generated is what was made up.
type Generated struct {
	Classes   []GroupID
	Learners  []identity.UserID
	Usernames []string // of Learners
	Attempts  int
	Viewings  int
}

// Generate makes up classes with names, and weeks of activity in which some
// learn faster than others, and writes them the way pages do. What it writes
// is determined by the configuration, if the replica's randomness is.
func Generate(ctx context.Context, c GenerateConfig) (Generated, error) {
	if c.Learners < 0 || c.Learners+len(c.Enrolled) < 1 || c.Days < 0 {
		return Generated{}, fmt.Errorf("generate %d learners and %d days: %w", c.Learners, c.Days, ErrInput)
	}
	for _, e := range c.Exercises {
		if len(e.Items) == 0 {
			return Generated{}, fmt.Errorf("generate: exercise %s has no items: %w", e.ID, ErrInput)
		}
	}
	if c.ClassSize <= 0 {
		c.ClassSize = 30
	}
	if c.Batch <= 0 {
		c.Batch = 256
	}
	g := generator{GenerateConfig: c, random: rand.New(rand.NewPCG(c.Seed, 0))}
	if err := g.enrol(ctx); err != nil {
		return g.done, fmt.Errorf("generate: %w", err)
	}
	for day := range c.Days {
		if err := g.day(ctx, c.Until.AddDate(0, 0, day+1-c.Days)); err != nil {
			return g.done, fmt.Errorf("generate: %w", err)
		}
	}
	return g.done, nil
}

type generator struct {
	GenerateConfig
	random  *rand.Rand
	done    Generated
	pupils  []pupil
	pending []func(*writer) error
}

// pupil is somebody with habits.
type pupil struct {
	id       identity.UserID
	ability  float64 // chance that an answer is right
	keenness float64 // chance to do something on a school day
	exercise int     // the one to go on with
	video    int
	watched  time.Duration // of that video
}

// enrol adds classes and learners, class by class.
func (g *generator) enrol(ctx context.Context) error {
	// One hash for all: made-up learners have no secrets.
	hash := PasswordHash("")
	if g.Password != "" {
		var err error
		if hash, err = g.Gate.Hash(ctx, g.Password); err != nil {
			return err
		}
	}
	taken := map[string]int{}
	for first := 0; first < g.Learners; first += g.ClassSize {
		err := g.write(ctx, g.Until.AddDate(0, 0, -g.Days), func(w *writer) error {
			n := len(g.done.Classes)
			class, err := w.addGroup(fmt.Sprintf("Class %d%c", 3+n/4%6, 'A'+n%4), "")
			if err != nil {
				return err
			}
			g.done.Classes = append(g.done.Classes, class)
			for range min(g.ClassSize, g.Learners-first) {
				u := g.newUser(taken, class)
				id, err := w.addUser(&u, hash)
				if err != nil {
					return err
				}
				g.done.Learners = append(g.done.Learners, id)
				g.done.Usernames = append(g.done.Usernames, u.Username)
				g.pupils = append(g.pupils, g.newPupil(id))
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	for _, id := range g.Enrolled {
		g.pupils = append(g.pupils, g.newPupil(id))
	}
	return nil
}

func (g *generator) newPupil(id identity.UserID) pupil {
	return pupil{id: id, ability: 0.45 + g.random.Float64()/2, keenness: 0.4 + g.random.Float64()/2}
}

func (g *generator) newUser(taken map[string]int, class GroupID) NewUser {
	first := firstNames[g.random.IntN(len(firstNames))]
	last := lastNames[g.random.IntN(len(lastNames))]
	username := strings.ToLower(first + "." + last)
	if taken[username]++; taken[username] > 1 {
		username = fmt.Sprint(username, taken[username])
	}
	return NewUser{Name: first + " " + last, Username: username, Language: "en", Groups: []GroupID{class}}
}

// day makes up one day of all pupils.
func (g *generator) day(ctx context.Context, date time.Time) error {
	if weekday := date.Weekday(); weekday == time.Saturday || weekday == time.Sunday {
		return nil
	}
	for i := range g.pupils {
		p := &g.pupils[i]
		if g.random.Float64() > p.keenness {
			continue
		}
		if len(g.Videos) > 0 && g.random.IntN(3) == 0 {
			g.watch(p, DayOf(date))
		}
		if len(g.Exercises) > 0 {
			g.practise(p, DayOf(date))
		}
		if len(g.pending) >= g.Batch {
			if err := g.flush(ctx, date); err != nil {
				return err
			}
		}
	}
	return g.flush(ctx, date)
}

// practise makes up a few answers to the exercise that comes next.
func (g *generator) practise(p *pupil, day Day) {
	e := g.Exercises[p.exercise%len(g.Exercises)]
	for range 4 + g.random.IntN(9) {
		right := g.random.Float64() < p.ability
		a := MarkedAnswer{
			Learner: p.id, Exercise: e.ID, Item: e.Items[g.random.IntN(len(e.Items))], Seed: g.random.Uint64N(1 << 53),
			Answer: fmt.Sprint(1 + g.random.IntN(40)), Correct: right, Hinted: !right && g.random.IntN(3) == 0,
			Taken:    time.Duration(2000+g.random.IntN(20000)) * time.Millisecond,
			Language: "en", Needed: e.Needed, Base: e.Base, Day: day,
		}
		g.pending = append(g.pending, func(w *writer) error {
			s, err := w.attempt(&a)
			if err == nil && s.Complete() && g.Exercises[p.exercise%len(g.Exercises)].ID == a.Exercise {
				p.exercise++
			}
			g.done.Attempts++
			return err
		})
	}
}

// watch makes up one stretch of the video that comes next.
func (g *generator) watch(p *pupil, day Day) {
	v := g.Videos[p.video%len(g.Videos)]
	from := p.watched
	to := min(from+time.Duration(20+g.random.IntN(300))*time.Second, v.Duration)
	if p.watched = to; to == v.Duration {
		p.video, p.watched = p.video+1, 0
	}
	span := WatchedSpan{
		Learner: p.id, Video: v.ID, From: from, To: to, Language: "en",
		Duration: v.Duration, Worth: v.Worth, Day: day,
	}
	g.pending = append(g.pending, func(w *writer) error {
		_, err := w.viewing(&span)
		g.done.Viewings++
		return err
	})
}

// flush writes what was made up, in batches, through the school day.
func (g *generator) flush(ctx context.Context, date time.Time) error {
	morning := time.Date(date.Year(), date.Month(), date.Day(), 8, 0, 0, 0, date.Location())
	total := len(g.pending)
	for len(g.pending) > 0 {
		n := min(len(g.pending), g.Batch)
		at := morning.Add(6 * time.Hour * time.Duration(total-len(g.pending)) / time.Duration(total))
		err := g.write(ctx, at, func(w *writer) error {
			for _, f := range g.pending[:n] {
				if err := f(w); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		g.pending = g.pending[n:]
	}
	g.pending = nil
	return nil
}

func (g *generator) write(ctx context.Context, at time.Time, f func(*writer) error) error {
	if g.SetTime != nil {
		g.SetTime(at)
	}
	return write(ctx, g.Replica, identity.UserID{}, "write batch", f)
}

var firstNames = [...]string{
	"Abebe", "Aisha", "Alma", "Amara", "Ana", "Anjali", "Arjun", "Beatriz", "Carlos", "Chidi",
	"Daniel", "Diego", "Elif", "Emeka", "Fatima", "Grace", "Hana", "Ibrahim", "Ines", "Ismail",
	"Jamal", "Joseph", "Kavya", "Kwame", "Leila", "Lucia", "Mariam", "Mateo", "Mercy", "Musa",
	"Nadia", "Nia", "Omar", "Priya", "Ravi", "Rosa", "Samuel", "Sofia", "Tariq", "Yara",
}

var lastNames = [...]string{
	"Abdi", "Achieng", "Adeyemi", "Ali", "Alvarez", "Asante", "Banda", "Bello", "Castro", "Chanda",
	"Costa", "Das", "Diallo", "Eze", "Flores", "Gomez", "Gupta", "Haddad", "Hassan", "Hussein",
	"Juma", "Kamau", "Khan", "Kone", "Lopez", "Mensah", "Mohamed", "Morales", "Mwangi", "Nair",
	"Ndlovu", "Okafor", "Otieno", "Owusu", "Patel", "Ramos", "Sharma", "Silva", "Tesfaye", "Vargas",
}
