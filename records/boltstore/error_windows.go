package boltstore

import "syscall"

// fullErrors are what the system says when there is no room:
// ERROR_HANDLE_DISK_FULL, ERROR_DISK_FULL, ERROR_DISK_QUOTA_EXCEEDED and, for
// a file of that size on FAT, ERROR_FILE_TOO_LARGE.
var fullErrors = []syscall.Errno{39, 112, 1295, 223}
