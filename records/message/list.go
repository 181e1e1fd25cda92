package message

import (
	"fmt"
	"math"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// List visits a repeated message of at most maxCount elements.
func List[T any, P interface {
	*T
	Message
}](v *Visitor, num int, list *[]T, maxCount int) {
	if v.encoding {
		v.visit(num)
		v.limit(num, len(*list), maxCount)
		for i := range *list {
			v.writeMessage(num, P(&(*list)[i]))
		}
		return
	}
	v.eachPayload(num, maxCount, math.MaxInt, func(b []byte) {
		var element T
		*list = append(*list, element)
		v.readMessage(num, b, P(&(*list)[len(*list)-1]))
	})
}

// BytesList visits repeated byte strings, at most maxCount of at most maxBytes
// each.
func (v *Visitor) BytesList(num int, list *[][]byte, maxCount, maxBytes int) {
	if v.encoding {
		v.visit(num)
		v.limit(num, len(*list), maxCount)
		for _, b := range *list {
			v.limit(num, len(b), maxBytes)
			v.writeTag(num, protowire.BytesType)
			v.out = protowire.AppendBytes(v.out, b)
		}
		return
	}
	v.eachPayload(num, maxCount, maxBytes, func(b []byte) { *list = append(*list, v.own(b)) })
}

// StringList visits repeated texts, at most maxCount of at most maxBytes of
// valid UTF-8 each.
func (v *Visitor) StringList(num int, list *[]string, maxCount, maxBytes int) {
	if v.encoding {
		v.visit(num)
		v.limit(num, len(*list), maxCount)
		for _, s := range *list {
			v.limit(num, len(s), maxBytes)
			v.text(num, utf8.ValidString(s))
			v.writeTag(num, protowire.BytesType)
			v.out = protowire.AppendString(v.out, s)
		}
		return
	}
	v.eachPayload(num, maxCount, maxBytes, func(b []byte) {
		if v.text(num, utf8.Valid(b)) {
			*list = append(*list, string(b))
		}
	})
}

// eachPayload reads the byte strings of a repeated field.
func (v *Visitor) eachPayload(num, maxCount, maxBytes int, element func([]byte)) {
	count := 0
	for ok := v.at(num, protowire.BytesType); ok; ok = v.again(num, protowire.BytesType) {
		b, size, ok := v.payload(num, maxBytes)
		if count++; !ok || !v.limit(num, count, maxCount) {
			return
		}
		v.consume(size)
		if v.err != nil {
			return
		}
		element(b)
	}
}

// Packed visits a list of at most maxCount numbers. Whether they are
// differences from one to the next is the caller's affair.
func (v *Visitor) Packed(num int, list *[]uint64, maxCount int) {
	if v.encoding {
		if v.visit(num); len(*list) > 0 {
			v.limit(num, len(*list), maxCount)
			size := 0
			for _, x := range *list {
				size += protowire.SizeVarint(x)
			}
			v.writeTag(num, protowire.BytesType)
			v.out = protowire.AppendVarint(v.out, uint64(size))
			for _, x := range *list {
				v.out = protowire.AppendVarint(v.out, x)
			}
		}
		return
	}
	b, ok := v.single(num, math.MaxInt)
	if !ok {
		return
	}
	count := 0 // every number has one last byte, below 0x80
	for _, c := range b {
		count += int(^c >> 7)
	}
	if !v.limit(num, count, maxCount) {
		return
	}
	*list = make([]uint64, 0, count)
	for len(b) > 0 {
		x, size := varint(b)
		if size == 0 {
			v.fail(num, badVarint, ErrMalformed)
			return
		}
		*list = append(*list, x)
		b = b[size:]
	}
}

// FixedList visits a list of at most maxCount byte strings of one size, such
// as identifiers, written end to end.
func FixedList[T ~[8]byte | ~[16]byte | ~[32]byte](v *Visitor, num int, list *[]T, maxCount int) {
	var element T
	each := len(element)
	if v.encoding {
		if v.visit(num); len(*list) > 0 {
			v.limit(num, len(*list), maxCount)
			v.writeTag(num, protowire.BytesType)
			v.out = protowire.AppendVarint(v.out, uint64(len(*list)*each))
			for i := range *list {
				for j := range each {
					v.out = append(v.out, (*list)[i][j])
				}
			}
		}
		return
	}
	b, ok := v.single(num, math.MaxInt)
	if !ok || !v.limit(num, (len(b)+each-1)/each, maxCount) {
		return
	}
	if len(b)%each != 0 {
		v.fail(num, fmt.Sprintf("%d bytes, want a multiple of %d", len(b), each), ErrMalformed)
		return
	}
	*list = make([]T, len(b)/each)
	for i, c := range b {
		(*list)[i/each][i%each] = c
	}
}
