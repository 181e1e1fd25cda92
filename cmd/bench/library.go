package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/classmesh/classmesh/web/content"
)

// library writes a pack with the contents of a zone into a folder and loads it.
// Every fifth is a video.
func library(dir string, contents []string) (*content.Library, error) {
	type text map[string]string
	type object = map[string]any
	var exercises, videos []object
	for i, id := range contents {
		c := object{"id": id, "title": text{"en": fmt.Sprint("Lesson ", i+1)}, "description": text{"en": "To be measured."}, "points": 100}
		if isVideo(i) {
			c["file"], c["duration_s"] = id+".webm", int(videoDuration.Seconds())
			if err := os.WriteFile(filepath.Join(dir, id+".webm"), []byte("no film"), 0o600); err != nil {
				return nil, err
			}
			videos = append(videos, c)
			continue
		}
		delete(c, "points")
		var items []object
		for _, item := range exerciseItems {
			items = append(items, object{
				"id": item, "prompt": text{"en": "Which?"}, "hints": []text{},
				"choice": object{"correct": "this", "options": []object{
					{"id": "this", "text": text{"en": "This"}}, {"id": "that", "text": text{"en": "That"}},
				}},
			})
		}
		c["items"] = items
		exercises = append(exercises, c)
	}
	manifest, err := json.Marshal(object{
		"format": 1, "id": "bench", "version": 1, "languages": []string{"en"},
		"title": text{"en": "Bench"}, "description": text{"en": "To be measured."},
		"topics": []object{{
			"id": "lessons", "title": text{"en": "Lessons"}, "description": text{"en": "To be measured."}, "contents": contents,
		}},
		"videos": videos, "exercises": exercises,
	})
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "pack.json"), manifest, 0o600); err != nil {
		return nil, err
	}
	pack, err := content.Load(os.DirFS(dir))
	if err != nil {
		return nil, err
	}
	return content.NewLibrary(pack)
}
