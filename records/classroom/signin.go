package classroom

import (
	"context"
	"errors"
	"fmt"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
)

// ErrSignIn: there is no such username with that password. Which of the two
// is wrong is not told.
var ErrSignIn = errors.New("the user name or the password is wrong")

// maxNamesakes bounds how many people with one username are tried.
const maxNamesakes = 16

// Authenticate returns who has a username and password, and under which of their IDs, or
// [ErrSignIn]. What somebody does is recorded under that ID: should IDs that were joined be
// parted again, each has its own work. Usernames are compared without regard to case. Where several people have the
// same, the password decides. Teachers and administrators are let in by their
// StaffSecret only, learners by their LearnerSecret only; who is hidden is not
// let in ([Roll.Account]). Of many namesakes, staff come first. An unknown username costs as much work as a known one.
//
// It reads what it needs and computes afterwards, so that nobody waits for a
// turn at the gate with a transaction open.
func (g *Gate) Authenticate(ctx context.Context, r *records.Replica, username, password string) (p *Person, account identity.UserID, err error) {
	var tries []passwordTry
	err = r.Read(ctx, func(v *records.View) (err error) {
		tries, err = passwordTries(v, username)
		return err
	})
	if err != nil {
		return nil, account, fmt.Errorf("sign in: %w", err)
	}
	if len(tries) == 0 {
		tries = []passwordTry{{hash: g.dummy}}
	}
	for _, t := range tries {
		ok, err := g.Verify(ctx, t.hash, password)
		if err != nil {
			return nil, account, fmt.Errorf("sign in: %w", err)
		}
		if ok && p == nil {
			p, account = t.person, t.id
		}
	}
	if p == nil {
		return nil, account, ErrSignIn
	}
	return p, account, nil
}

// passwordTry is a hash to try, and the account that it opens.
type passwordTry struct {
	account
	hash PasswordHash
}

func passwordTries(v *records.View, username string) ([]passwordTry, error) {
	roll, err := People(v)
	if err != nil {
		return nil, err
	}
	var tries []passwordTry
	for _, a := range roll.named(username) {
		if len(tries) == maxNamesakes {
			break
		}
		s, err := readSecret(v, a.id, a.person.Role)
		if err != nil {
			return nil, err
		}
		if hash := s.Password.Value(); hash != "" {
			tries = append(tries, passwordTry{a, hash})
		}
	}
	return tries, nil
}

// secretKind returns the kind of secret by which a role signs in.
func secretKind(role Role) records.Kind {
	if role.IsStaff() {
		return KindStaffSecret
	}
	return KindLearnerSecret
}

func readSecret(v *records.View, user identity.UserID, role Role) (s SecretState, err error) {
	p := records.RegisterPrefix{Kind: secretKind(role), Learner: &user}
	err = scan(v, p, func(_ *records.RegisterRow, ver Version[Secret]) { s.add(&ver) })
	return s, err
}
