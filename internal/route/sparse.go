package route

import "github.com/mintmark/mintmark/idspace"

// sparse placeholder until table has AssignedShare.
func sparse(*idspace.Table) bool { return false }
