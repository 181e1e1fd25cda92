package content

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
)

// The limits of a manifest. They are far above what a pack needs and keep a
// broken one from taking the memory of a small device.
const (
	manifestFormat = 1

	maxTopics      = 1000
	maxTopicDepth  = 8
	maxVideos      = 5000
	maxExercises   = 5000
	maxItems       = 1000 // of an exercise
	maxHints       = 10   // of an item
	maxOptions     = 10   // of a choice
	maxAccepted    = 50   // right answers to a text item, by language
	maxLanguages   = 100
	maxTextBytes   = 4000
	maxVideoLength = 12 * time.Hour
	maxPoints      = 100_000
)

const (
	defaultNeeded         = 8
	defaultExercisePoints = 10
	defaultVideoPoints    = 750
)

var (
	idPattern       = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	languagePattern = regexp.MustCompile(`^[a-z]{2,3}(-[a-z0-9]{2,8})*$`)
)

// The JSON of a manifest. Lists of objects are decoded one object at a time,
// so that an error can say where it was found.
type (
	manifestJSON struct {
		Format      int               `json:"format"`
		ID          string            `json:"id"`
		Version     int               `json:"version"`
		Languages   []string          `json:"languages"`
		Title       Text              `json:"title"`
		Description Text              `json:"description"`
		Topics      []json.RawMessage `json:"topics"`
		Videos      []json.RawMessage `json:"videos"`
		Exercises   []json.RawMessage `json:"exercises"`
	}
	topicJSON struct {
		ID          string            `json:"id"`
		Title       Text              `json:"title"`
		Description Text              `json:"description"`
		Topics      []json.RawMessage `json:"topics"`
		Contents    []string          `json:"contents"`
	}
	videoJSON struct {
		ID          string            `json:"id"`
		Title       Text              `json:"title"`
		Description Text              `json:"description"`
		File        string            `json:"file"`
		Captions    map[string]string `json:"captions"`
		DurationS   int               `json:"duration_s"`
		Points      *int              `json:"points"`
	}
	exerciseJSON struct {
		ID          string            `json:"id"`
		Title       Text              `json:"title"`
		Description Text              `json:"description"`
		Needed      *int              `json:"needed"`
		Points      *int              `json:"points"`
		Items       []json.RawMessage `json:"items"`
	}
	itemJSON struct {
		ID        string          `json:"id"`
		Prompt    Text            `json:"prompt"`
		Hints     []Text          `json:"hints"`
		Number    json.RawMessage `json:"number"`
		Text      json.RawMessage `json:"text"`
		Choice    json.RawMessage `json:"choice"`
		Generated json.RawMessage `json:"generated"`
	}
	numberJSON struct {
		Value string `json:"value"`
		Form  string `json:"form"`
	}
	choiceJSON struct {
		Options []json.RawMessage `json:"options"`
		Correct string            `json:"correct"`
	}
	optionJSON struct {
		ID   string `json:"id"`
		Text Text   `json:"text"`
	}
	generatedJSON struct {
		Generator string           `json:"generator"`
		Ranges    map[string][]int `json:"ranges"`
	}
)

// manifestReader turns a manifest into a pack, remembering what was named.
type manifestReader struct {
	languages []string
	contents  map[string]Content
	placed    map[string]string // content ID → ID of its topic
	topics    map[string]bool
}

// parseManifest reads a manifest. It opens no file.
func parseManifest(data []byte) (*Pack, error) {
	if err := checkJSON(data); err != nil {
		return nil, err
	}
	m, err := decode[manifestJSON](data)
	if err != nil {
		return nil, err
	}
	if m.Format != manifestFormat {
		return nil, fmt.Errorf("format: is %d, but this program reads %d", m.Format, manifestFormat)
	}
	if err := checkID(m.ID); err != nil {
		return nil, err
	}
	if m.Version < 1 {
		return nil, errors.New("version: must be 1 or more")
	}
	if err := checkLanguages(m.Languages); err != nil {
		return nil, fmt.Errorf("languages: %w", err)
	}

	r := &manifestReader{
		languages: m.Languages,
		contents:  map[string]Content{},
		placed:    map[string]string{},
		topics:    map[string]bool{},
	}
	if err := r.checkTitles(m.Title, m.Description); err != nil {
		return nil, err
	}
	p := &Pack{ID: m.ID, Version: m.Version, Languages: m.Languages, Title: m.Title, Description: m.Description}
	if err := each(m.Videos, "videos", maxVideos, func(v videoJSON) error { return r.addVideo(m.ID, v) }); err != nil {
		return nil, err
	}
	if err := each(m.Exercises, "exercises", maxExercises, r.addExercise); err != nil {
		return nil, err
	}
	if p.Topics, err = r.readTopics(m.Topics, maxTopicDepth); err != nil {
		return nil, err
	}
	for _, id := range slices.Sorted(maps.Keys(r.contents)) {
		if r.placed[id] == "" {
			return nil, fmt.Errorf("topics: none has %s among its contents", id)
		}
	}
	return p, nil
}

func (r *manifestReader) readTopics(raws []json.RawMessage, depth int) ([]*Topic, error) {
	if len(raws) > 0 && depth == 0 {
		return nil, fmt.Errorf("topics: nested more than %d deep", maxTopicDepth)
	}
	var topics []*Topic
	err := each(raws, "topics", maxTopics, func(t topicJSON) error {
		if err := checkID(t.ID); err != nil {
			return err
		}
		if r.topics[t.ID] {
			return fmt.Errorf("id: another topic is called %s", t.ID)
		}
		if r.topics[t.ID] = true; len(r.topics) > maxTopics {
			return fmt.Errorf("more than %d topics", maxTopics)
		}
		if err := r.checkTitles(t.Title, t.Description); err != nil {
			return err
		}
		topic := &Topic{ID: t.ID, Title: t.Title, Description: t.Description}
		for i, id := range t.Contents {
			c, ok := r.contents[id]
			if !ok {
				return fmt.Errorf("contents[%d]: no video or exercise is called %.64q", i, id)
			}
			if other := r.placed[id]; other != "" {
				return fmt.Errorf("contents[%d]: %s is already in topic %s", i, id, other)
			}
			r.placed[id] = t.ID
			topic.Contents = append(topic.Contents, c)
		}
		var err error
		if topic.Topics, err = r.readTopics(t.Topics, depth-1); err != nil {
			return err
		}
		if len(topic.Contents)+len(topic.Topics) == 0 {
			return errors.New("contents: empty, and there are no topics below")
		}
		topics = append(topics, topic)
		return nil
	})
	return topics, err
}

func (r *manifestReader) addVideo(pack string, v videoJSON) error {
	if err := r.checkContent(v.ID, v.Title, v.Description); err != nil {
		return err
	}
	if err := checkMediaName(v.File, ".webm", ".mp4"); err != nil {
		return fmt.Errorf("file: %w", err)
	}
	if len(v.Captions) > maxLanguages {
		return fmt.Errorf("captions: more than %d", maxLanguages)
	}
	for _, lang := range slices.Sorted(maps.Keys(v.Captions)) {
		if !languagePattern.MatchString(lang) {
			return fmt.Errorf("captions: %.64q is not a language", lang)
		}
		if err := checkMediaName(v.Captions[lang], ".vtt"); err != nil {
			return fmt.Errorf("captions: %s: %w", lang, err)
		}
	}
	if v.DurationS < 1 || v.DurationS > int(maxVideoLength/time.Second) {
		return fmt.Errorf("duration_s: not within 1…%d", int(maxVideoLength/time.Second))
	}
	points, err := within(v.Points, defaultVideoPoints, 1, maxPoints)
	if err != nil {
		return fmt.Errorf("points: %w", err)
	}
	r.contents[v.ID] = Content{Video: &Video{
		ID: v.ID, Title: v.Title, Description: v.Description,
		Pack: pack, File: v.File, Captions: v.Captions,
		Duration: time.Duration(v.DurationS) * time.Second, Points: points,
	}}
	return nil
}

func (r *manifestReader) addExercise(x exerciseJSON) error {
	if err := r.checkContent(x.ID, x.Title, x.Description); err != nil {
		return err
	}
	needed, err := within(x.Needed, defaultNeeded, 1, Window)
	if err != nil {
		return fmt.Errorf("needed: %w", err)
	}
	points, err := within(x.Points, defaultExercisePoints, 1, maxPoints)
	if err != nil {
		return fmt.Errorf("points: %w", err)
	}
	if len(x.Items) == 0 {
		return errors.New("items: missing")
	}
	e := &Exercise{ID: x.ID, Title: x.Title, Description: x.Description, Needed: needed, Points: points}
	err = each(x.Items, "items", maxItems, func(i itemJSON) error {
		if err := checkID(i.ID); err != nil {
			return err
		}
		if _, err := e.item(i.ID); err == nil {
			return fmt.Errorf("id: another item of this exercise is called %s", i.ID)
		}
		it, err := r.readItem(i)
		if err != nil {
			return err
		}
		e.items = append(e.items, it)
		return nil
	})
	r.contents[x.ID] = Content{Exercise: e}
	return err
}

func (r *manifestReader) readItem(i itemJSON) (item, error) {
	it := item{id: i.ID, prompt: i.Prompt, hints: i.Hints}
	if err := r.checkText(i.Prompt); err != nil {
		return it, fmt.Errorf("prompt: %w", err)
	}
	if len(i.Hints) > maxHints {
		return it, fmt.Errorf("hints: more than %d", maxHints)
	}
	for n, h := range i.Hints {
		if err := r.checkText(h); err != nil {
			return it, fmt.Errorf("hints[%d]: %w", n, err)
		}
	}

	readers := []struct {
		field string
		raw   json.RawMessage
		read  func(json.RawMessage, *item) error
	}{
		{"number", i.Number, r.readNumber},
		{"text", i.Text, r.readText},
		{"choice", i.Choice, r.readChoice},
		{"generated", i.Generated, r.readGenerated},
	}
	for _, rd := range readers {
		if rd.raw == nil {
			continue
		}
		if it.pose != nil {
			return it, fmt.Errorf("%s: the item already has another answer", rd.field)
		}
		if err := rd.read(rd.raw, &it); err != nil {
			return it, fmt.Errorf("%s: %w", rd.field, err)
		}
	}
	if it.pose == nil {
		return it, errors.New("has none of number, text, choice, generated")
	}
	return it, nil
}

func (r *manifestReader) readNumber(raw json.RawMessage, it *item) error {
	n, err := decode[numberJSON](raw)
	if err != nil {
		return err
	}
	readings := readNumber(n.Value)
	if len(n.Value) > MaxAnswerBytes || len(readings) == 0 || readings[0].text != n.Value {
		return fmt.Errorf("value: %.64q is not a number in its shortest spelling, like \"5\", \"0.5\", \"-3/4\"", n.Value)
	}
	k := numberKey{value: readings[0].value}
	switch n.Form {
	case "":
	case "fraction":
		k.form = fractionForm
	case "lowest":
		k.form = lowestForm
	default:
		return fmt.Errorf("form: %.64q is neither \"fraction\" nor \"lowest\"", n.Form)
	}
	if !k.accepts(readings[0]) {
		return fmt.Errorf("form: does not allow the value %s itself", n.Value)
	}
	it.pose = func(*random) problem { return problem{key: k} }
	return nil
}

func (r *manifestReader) readText(raw json.RawMessage, it *item) error {
	accepted, err := decode[map[string][]string](raw)
	if err != nil {
		return err
	}
	k := textKey{}
	for _, lang := range slices.Sorted(maps.Keys(accepted)) {
		if !languagePattern.MatchString(lang) {
			return fmt.Errorf("%.64q is not a language", lang)
		}
		if len(accepted[lang]) > maxAccepted {
			return fmt.Errorf("%s: more than %d answers", lang, maxAccepted)
		}
		for n, s := range accepted[lang] {
			folded := foldText(s)
			if folded == "" || len(s) > MaxAnswerBytes {
				return fmt.Errorf("%s[%d]: empty, or longer than %d bytes", lang, n, MaxAnswerBytes)
			}
			k[folded] = true
		}
	}
	for _, lang := range r.languages {
		if len(accepted[lang]) == 0 {
			return fmt.Errorf("no answer in %s", lang)
		}
	}
	it.pose = func(*random) problem { return problem{key: k} }
	return nil
}

func (r *manifestReader) readChoice(raw json.RawMessage, it *item) error {
	c, err := decode[choiceJSON](raw)
	if err != nil {
		return err
	}
	if len(c.Options) < 2 {
		return errors.New("options: fewer than 2")
	}
	k := choiceKey{correct: c.Correct}
	has := func(id string) bool {
		return slices.ContainsFunc(k.options, func(o option) bool { return o.id == id })
	}
	err = each(c.Options, "options", maxOptions, func(o optionJSON) error {
		if err := checkID(o.ID); err != nil {
			return err
		}
		if has(o.ID) {
			return fmt.Errorf("id: another option is called %s", o.ID)
		}
		if err := r.checkText(o.Text); err != nil {
			return fmt.Errorf("text: %w", err)
		}
		k.options = append(k.options, option{o.ID, o.Text})
		return nil
	})
	if err != nil {
		return err
	}
	if !has(k.correct) {
		return fmt.Errorf("correct: no option is called %.64q", k.correct)
	}
	it.pose = func(rnd *random) problem {
		shown := make([]option, len(k.options))
		for to, from := range rnd.permutation(len(shown)) {
			shown[to] = k.options[from]
		}
		return problem{options: shown, key: k}
	}
	return nil
}

func (r *manifestReader) readGenerated(raw json.RawMessage, it *item) error {
	j, err := decode[generatedJSON](raw)
	if err != nil {
		return err
	}
	g, ok := generators[j.Generator]
	if !ok {
		return fmt.Errorf("generator: %.64q is not one of %s", j.Generator, strings.Join(slices.Sorted(maps.Keys(generators)), ", "))
	}
	ranges := map[string]span{}
	for _, name := range slices.Sorted(maps.Keys(j.Ranges)) {
		ends := j.Ranges[name]
		if len(ends) != 2 {
			return fmt.Errorf("ranges: %s: not of the form [least, greatest]", name)
		}
		ranges[name] = span{ends[0], ends[1]}
	}
	if err := g.checkRanges(ranges); err != nil {
		return fmt.Errorf("ranges: %w", err)
	}
	for n, t := range slices.Concat([]Text{it.prompt}, it.hints) {
		if err := g.checkTemplate(t); err != nil {
			if n == 0 {
				return fmt.Errorf("prompt: %w", err)
			}
			return fmt.Errorf("hints[%d]: %w", n-1, err)
		}
	}
	it.pose = func(rnd *random) problem {
		values, answer := g.draw(rnd, ranges)
		return problem{values: values, key: answer}
	}
	return nil
}

// checkContent checks what videos and exercises have in common.
func (r *manifestReader) checkContent(id string, title, description Text) error {
	if err := checkID(id); err != nil {
		return err
	}
	if _, ok := r.contents[id]; ok {
		return fmt.Errorf("id: another video or exercise is called %s", id)
	}
	return r.checkTitles(title, description)
}

func (r *manifestReader) checkTitles(title, description Text) error {
	if err := r.checkText(title); err != nil {
		return fmt.Errorf("title: %w", err)
	}
	if description == nil {
		return nil
	}
	if err := r.checkText(description); err != nil {
		return fmt.Errorf("description: %w", err)
	}
	return nil
}

// checkText makes sure that a text is there in every language of the pack. It
// may be there in others, so that a translation can grow.
func (r *manifestReader) checkText(t Text) error {
	if len(t) == 0 {
		return errors.New("missing")
	}
	if len(t) > maxLanguages {
		return fmt.Errorf("more than %d languages", maxLanguages)
	}
	for _, lang := range slices.Sorted(maps.Keys(t)) {
		switch {
		case !languagePattern.MatchString(lang):
			return fmt.Errorf("%.64q is not a language", lang)
		case strings.TrimSpace(t[lang]) == "":
			return fmt.Errorf("%s: empty", lang)
		case len(t[lang]) > maxTextBytes:
			return fmt.Errorf("%s: longer than %d bytes", lang, maxTextBytes)
		}
	}
	for _, lang := range r.languages {
		if t[lang] == "" {
			return fmt.Errorf("%s: missing", lang)
		}
	}
	return nil
}

func checkLanguages(languages []string) error {
	if len(languages) > maxLanguages {
		return fmt.Errorf("more than %d", maxLanguages)
	}
	for i, lang := range languages {
		if !languagePattern.MatchString(lang) {
			return fmt.Errorf("%.64q is not a language", lang)
		}
		if slices.Contains(languages[:i], lang) {
			return fmt.Errorf("%s is there twice", lang)
		}
	}
	if !slices.Contains(languages, FallbackLanguage) {
		return fmt.Errorf("%s is missing", FallbackLanguage)
	}
	return nil
}

func checkID(id string) error {
	if len(id) > 64 || !idPattern.MatchString(id) {
		return fmt.Errorf("id: %.64q is not made of up to 64 lower-case letters and digits with single hyphens", id)
	}
	return nil
}

func checkMediaName(name string, extensions ...string) error {
	if !fs.ValidPath(name) || len(name) > 200 {
		return fmt.Errorf("%.200q is not a path within the pack", name)
	}
	if !slices.Contains(extensions, path.Ext(name)) {
		return fmt.Errorf("%s does not end in %s", name, strings.Join(extensions, " or "))
	}
	return nil
}

// within returns *n, which must be within lo…hi, or byDefault if n is nil.
func within(n *int, byDefault, lo, hi int) (int, error) {
	if n == nil {
		return byDefault, nil
	}
	if *n < lo || *n > hi {
		return 0, fmt.Errorf("not within %d…%d", lo, hi)
	}
	return *n, nil
}

// each decodes the objects of a list and hands them to use, one by one.
func each[T any](raws []json.RawMessage, field string, limit int, use func(T) error) error {
	if len(raws) > limit {
		return fmt.Errorf("%s: more than %d", field, limit)
	}
	for i, raw := range raws {
		v, err := decode[T](raw)
		if err == nil {
			err = use(v)
		}
		if err != nil {
			return fmt.Errorf("%s[%d]: %w", field, i, err)
		}
	}
	return nil
}

// decode decodes one JSON value that has passed [checkJSON] and refuses fields
// that T does not have.
func decode[T any](raw []byte) (T, error) {
	var v T
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	err := d.Decode(&v)
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		err = fmt.Errorf("is of the wrong type, %s", wrong.Value)
		if wrong.Field != "" {
			err = fmt.Errorf("%s: %w", wrong.Field, err)
		}
	}
	return v, err
}
