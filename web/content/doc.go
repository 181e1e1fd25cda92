// Package content holds what there is to learn: packs of topics, videos with
// captions and exercises, the generators that make up questions, and the
// marking of answers.
//
// Start with [Shipped] (the packs in the program) or [Load] (a pack in a
// folder), join packs in a [Library], and ask an [Exercise] for its Next
// question, the Question itself, and the Mark of an answer. Nothing here
// changes after loading, so all of it is safe for concurrent use; nothing here
// knows learners or keeps records.
//
// # Writing a pack
//
// A pack is a folder with a file pack.json and the media it names. Packs that
// are part of the program stand in the folder packs; "numbers" is one to copy
// from. In short:
//
//	{
//	  "format": 1, "id": "shapes", "version": 1, "languages": ["en", "fr"],
//	  "title": {"en": "Shapes", "fr": "Formes"},
//	  "topics": [{"id": "triangles", "title": {…}, "contents": ["triangles-film", "triangles-basics"]}],
//	  "videos": [{"id": "triangles-film", "title": {…}, "file": "film.webm", "duration_s": 42,
//	    "captions": {"en": "film.en.vtt", "fr": "film.fr.vtt"}}],
//	  "exercises": [{"id": "triangles-basics", "title": {…}, "items": [
//	    {"id": "corners", "prompt": {…}, "hints": [{…}], "number": {"value": "3"}}]}]
//	}
//
// A text is an object from language to text and must have every language that
// the pack lists, "en" among them; a translation that is not complete yet may
// be there without being listed. Topics form a tree ("topics" within a topic);
// every video and exercise is in the contents of exactly one of them, in the
// order of teaching. Optional: all descriptions, hints, "points" (750 for a
// video, 10 as the base of an exercise), and "needed", how many of a learner's
// last 10 answers must be right to complete an exercise (8).
//
// IDs are lower-case words with hyphens. They stand in the records of learners
// for ever, and answers given are kept with item and seed, so: begin IDs with
// the name of the pack or topic, never use one again for something else, and
// give an item a new ID when its question or its answer changes. Correcting a
// translation needs no new ID. Raise "version" whenever anything changes.
//
// Films are VP9 in .webm, or .mp4, small enough for thin links; captions are
// WebVTT. All that is wrong with a pack is found by [Load], which names the
// place: unknown fields, texts and files that are missing, captions that no
// browser would show.
//
// # Items
//
// An item has a prompt, hints from gentle to plain, and one of:
//
//   - "number": {"value": "3/4", "form": "fraction"}. Without a form, whole
//     numbers and decimals of equal value are right; with "fraction" also
//     fractions and mixed numbers; with "lowest" only whole numbers and
//     fractions in lowest terms.
//   - "text": {"en": ["quarter", "a quarter"], "fr": ["quart"]}: all right
//     answers. Any of them is right, in whatever language the page is.
//   - "choice": {"options": [{"id": "half", "text": {…}}, …], "correct": "half"}.
//     Options are shown in an order drawn from the seed. Learners' browsers see
//     the IDs of options, and teachers count wrong answers by them.
//   - "generated": {"generator": "fraction-of", "ranges": {"denominator": [2, 10], "part": [2, 12]}}.
//     Prompt and hints show the numbers that were drawn as {name}.
//
// The generators, their ranges, and the names for texts:
//
//	fraction-of          denominator, part    numerator, denominator, whole, part    3/4 of 20 = ?
//	equal-fraction       denominator, factor  numerator, denominator, factor, wide   3/4 = ?/20
//	fraction-sum         denominator          first, second, denominator             1/8 + 3/8 = ?
//	fraction-difference  denominator          first, second, denominator             7/8 − 3/8 = ?
//
// A new generator is one more element of the table in generator.go and a line
// here. What is drawn for an item and a seed is frozen: the same question on
// every device, in every release.
//
// # Marking
//
// Numbers may be written with Arabic-Indic, Persian, Devanagari or Bengali
// digits, with a decimal comma or point, with thousands set apart, with
// leading zeros, a plus sign and spaces around a fraction's line. Texts may
// differ in case, accents, punctuation and spaces. What is not a number where
// one is asked for, or not an option, is neither right nor wrong but
// [ErrUnreadableAnswer], so that a slip of the finger costs nobody a streak.
package content
