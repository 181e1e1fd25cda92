package classroom

import "github.com/classmesh/classmesh/records/message"

// Viewing is the event of a stretch of a video that was watched.
type Viewing struct {
	Video        string `json:"video"`
	FromS        uint32 `json:"from_s"`
	ToS          uint32 `json:"to_s"`
	SpeedPercent uint32 `json:"speed_percent,omitempty"` // 0 for the normal speed
	Language     string `json:"language"`
	Context      []byte `json:"context,omitempty"` // assignment ID, or nothing
	Unknown      []byte `json:"unknown,omitempty"`
}

// Fields lists the message's fields.
func (b *Viewing) Fields(v *message.Visitor) {
	v.String(1, &b.Video, maxContentIDBytes)
	v.Uint32(2, &b.FromS)
	v.Uint32(3, &b.ToS)
	v.Uint32(4, &b.SpeedPercent)
	v.String(5, &b.Language, MaxLanguageBytes)
	v.Bytes(6, &b.Context, 16)
	v.Unknown(&b.Unknown)
}
