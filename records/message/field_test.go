package message_test

import (
	"strings"
	"testing"

	"github.com/classmesh/classmesh/records/message"
)

func TestFieldsAreTakenApart(t *testing.T) {
	for b, want := range map[string][2]int{
		"\x08\x01rest":                          {1, 2},
		"\x08\x81\x00rest":                      {1, 3}, // 1, with a byte to spare
		"\x0d\x01\x02\x03\x04rest":              {1, 5},
		"\x09\x01\x02\x03\x04\x05\x06\x07\x08.": {1, 9},
		"\x12\x03abcrest":                       {1, 5},
		"\x12\x00":                              {1, 2},
		"\x82\x01\x01a":                         {2, 4},
		"":                                      {},
		"\x08":                                  {}, // no value
		"\x08\x80":                              {},
		"\x08" + strings.Repeat("\xff", 10):     {},
		"\x0d\x01\x02\x03":                      {},
		"\x12\x04abc":                           {},
		"\x12\x83\x00abc":                       {}, // a length with a byte to spare
		"\x88\x00\x01":                          {}, // a tag likewise
		"\x00\x01":                              {}, // field 0
		"\x0b\x0c":                              {}, // a group
		"\x0e\x01":                              {}, // no such type
		"\xf8\xff\xff\xff\x0f\x01":              {5, 6},
		"\x88\x80\x80\x80\x10\x01":              {}, // field 1<<29 + 1, more than protobuf has
	} {
		if tag, size := message.Field([]byte(b)); tag != want[0] || size != want[1] {
			t.Errorf("%q: a tag of %d bytes, a field of %d; want %v", b, tag, size, want)
		}
	}
}
