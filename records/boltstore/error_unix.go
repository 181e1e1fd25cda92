//go:build unix

package boltstore

import "syscall"

// fullErrors are what the system says when there is no room: on the disk, for
// a file of that size, for this user.
var fullErrors = []syscall.Errno{syscall.ENOSPC, syscall.EFBIG, syscall.EDQUOT}
