package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"slices"
	"sync"
	"time"
)

// browser is somebody who has signed in to a device's pages.
type browser struct {
	url    string
	client http.Client
	asked  uint64 // questions answered
}

func signIn(ctx context.Context, transport *http.Transport, url, username string) (*browser, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	b := &browser{url: url, client: http.Client{Jar: jar, Transport: transport}}
	_, err = b.post(ctx, "/api/v1/session", map[string]any{"username": username, "password": password})
	return b, err
}

// get and post return the answer to a request, which must be a good one.
func (b *browser) get(ctx context.Context, path string) (body []byte, err error) {
	return b.do(ctx, http.MethodGet, path, nil)
}

func (b *browser) post(ctx context.Context, path string, v any) (body []byte, err error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return b.do(ctx, http.MethodPost, path, text)
}

func (b *browser) do(ctx context.Context, method, path string, text []byte) (body []byte, err error) {
	r, err := http.NewRequestWithContext(ctx, method, b.url+path, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	if text != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	answer, err := b.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if body, err = io.ReadAll(answer.Body); err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s %s", method, path, answer.Status, body)
	}
	return body, err
}

// answer answers one question of an exercise.
func (b *browser) answer(ctx context.Context, exercise string) error {
	b.asked++
	_, err := b.post(ctx, "/api/v1/attempts", map[string]any{
		"exercise": exercise, "item": exerciseItems[b.asked%uint64(len(exerciseItems))], "seed": b.asked, "answer": "this", "ms_taken": 4000,
	})
	return err
}

// classSignedIn signs in a class.
func classSignedIn(ctx context.Context, transport *http.Transport, s *serving) ([]*browser, error) {
	class := make([]*browser, len(s.Usernames))
	err := each(ctx, s.Usernames, func(i int, username string) (err error) {
		class[i], err = signIn(ctx, transport, s.URL, username)
		return err
	})
	return class, err
}

// allAnswer has everybody in a class answer at the same moment, and returns how
// long each waited.
func allAnswer(ctx context.Context, class []*browser, exercise string) (waits []time.Duration, err error) {
	waits = make([]time.Duration, len(class))
	failed := make([]error, len(class))
	var all sync.WaitGroup
	for i, b := range class {
		all.Go(func() {
			began := time.Now()
			failed[i] = b.answer(ctx, exercise)
			waits[i] = time.Since(began)
		})
	}
	all.Wait()
	return waits, errors.Join(failed...)
}

// percentile returns what so many of a hundred do not exceed, in milliseconds.
func percentile(all []time.Duration, of int) float64 {
	slices.Sort(all)
	return float64(all[(len(all)-1)*of/100]) / float64(time.Millisecond)
}
