package backend

// A tally turns results of checks into up and down.
type tally struct {
	up bool
	// settled says that a result has been counted; the first one decides alone.
	settled bool
	against int // results in a row that contradict up
}

// count counts a result and reports whether up has changed. rise and fall are
// how many results in a row it takes; less than 1 is 1.
func (t *tally) count(ok bool, rise, fall int) bool {
	need := fall
	if !t.up {
		need = rise
	}
	if !t.settled {
		t.settled, need = true, 1
	}
	if ok == t.up {
		t.against = 0
		return false
	}
	if t.against++; t.against < need {
		return false
	}
	t.set(ok)
	return true
}

// set changes up on other evidence.
func (t *tally) set(up bool) { t.up, t.settled, t.against = up, true, 0 }
