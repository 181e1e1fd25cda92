package content

import "strings"

// FallbackLanguage is the language that every [Text] has.
const FallbackLanguage = "en"

// Text is one text in several languages, by language tag in lower case ("fr",
// "pt-br"). A Text of a loaded pack always has [FallbackLanguage] and all the
// languages of its pack; a title or description that the pack leaves out is
// nil.
type Text map[string]string

// In returns the text in lang, or in the language that lang is a variety of
// ("fr" for "fr-CA"), or in [FallbackLanguage].
func (t Text) In(lang string) string {
	lang = strings.ToLower(lang)
	for {
		if s, ok := t[lang]; ok {
			return s
		}
		i := strings.LastIndexByte(lang, '-')
		if i < 0 {
			return t[FallbackLanguage]
		}
		lang = lang[:i]
	}
}
