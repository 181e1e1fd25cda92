package roster_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/classmesh/classmesh/records/roster"
)

func invitation(t testing.TB) roster.Invitation {
	t.Helper()
	i, err := roster.NewInvitation(source(3), coordinator.Public())
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func TestInvitation(t *testing.T) {
	i := invitation(t)
	const code = "APTZG-7S9QV-W7D3DD-RV0N1-A8JAD"
	if i.Code() != code {
		t.Errorf("code %s, want %s", i.Code(), code)
	}
	if !i.Matches(coordinator.Public()) || i.Matches(deviceKey(1).Public()) {
		t.Error("matches another coordinator, or not its own")
	}
	const hash = "h-xac2rg33otdmy52wdmcorrjzjq7yyasidt3duy2wc6xifilpfzba"
	if got := i.Secret().Hash().String(); got != hash {
		t.Errorf("hash of the secret %s, want %s", got, hash)
	}
	if s := i.Secret(); s[len(s)-1]&3 != 0 {
		t.Error("the secret has more than 46 bits")
	}
	for _, typed := range []string{
		code, strings.ToLower(code), strings.ReplaceAll(code, "-", ""), "  " + strings.ReplaceAll(code, "-", " ") + "\n",
		strings.ReplaceAll(code, "-", "–"), strings.ReplaceAll(strings.ReplaceAll(code, "0", "O"), "1", "l"),
		strings.ReplaceAll(strings.ReplaceAll(code, "0", "o"), "1", "I"),
	} {
		if got, err := roster.ParseInvitation(typed); err != nil || got != i {
			t.Errorf("%q: %v", typed, err)
		}
	}
	if _, err := roster.NewInvitation(strings.NewReader("short"), coordinator.Public()); err == nil {
		t.Error("an invitation without randomness")
	}
}

func TestInvitationsDoNotPrint(t *testing.T) {
	i := invitation(t)
	s := i.Secret()
	for _, f := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q"} {
		got := fmt.Sprintf(f, i) + fmt.Sprintf(f, s) + fmt.Sprintf(f, struct{ A any }{i})
		if strings.Contains(got, i.Code()[:5]) || strings.Contains(got, fmt.Sprint(s[0])) || strings.Contains(got, fmt.Sprintf("%x", s[:2])) {
			t.Errorf("%s prints %s", f, got)
		}
	}
}

func TestMistypedCodes(t *testing.T) {
	code := strings.ReplaceAll(invitation(t).Code(), "-", "")
	for typed, want := range map[string]string{
		"":                           "has 26 letters and digits, this has 0",
		code[1:]:                     "this has 25",
		code + "0":                   "this has 27",
		code[:7] + "U" + code[8:]:    "character 8 is one that no code has",
		code[:25] + "é":              "character 26 is one",
		code[:3] + "\x00" + code[4:]: "character 4",
	} {
		_, err := roster.ParseInvitation(typed)
		if !errors.Is(err, roster.ErrInvitation) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", typed, err, want)
		}
	}
	// Every other character at every place, and every pair exchanged.
	slips, missed := 0, 0
	try := func(typed string) {
		if typed == code {
			return
		}
		slips++
		if _, err := roster.ParseInvitation(typed); err == nil {
			missed++
		} else if strings.Contains(err.Error(), typed) {
			t.Errorf("the error repeats the code: %v", err)
		}
	}
	for n := range code {
		for _, c := range "0123456789ABCDEFGHJKMNPQRSTVWXYZ" {
			try(code[:n] + string(c) + code[n+1:])
		}
		if n > 0 {
			try(code[:n-1] + code[n:n+1] + code[n-1:n] + code[n+1:])
		}
	}
	if slips < 800 || missed > slips/12 {
		t.Errorf("%d of %d slips missed, want about a sixteenth", missed, slips)
	}
}

func FuzzParseInvitation(f *testing.F) {
	f.Add(invitation(f).Code())
	f.Add(strings.ToLower(invitation(f).Code()))
	f.Add("OIL")
	f.Fuzz(func(t *testing.T, typed string) {
		i, err := roster.ParseInvitation(typed)
		if err != nil {
			if !errors.Is(err, roster.ErrInvitation) {
				t.Fatalf("error without a sentinel: %v", err)
			}
			return
		}
		if again, err := roster.ParseInvitation(i.Code()); err != nil || again != i {
			t.Fatalf("%q reads as another invitation: %v", i.Code(), err)
		}
	})
}
