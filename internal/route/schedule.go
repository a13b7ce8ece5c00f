package route

import (
	"cmp"
	"slices"
)

// maxSchedule is the longest schedule, unless there are more servers. A pool
// whose weights need a longer one (the sum of the weights, divided by what all
// have in common) gets its weights to within 1/4096 of the total.
const maxSchedule = 4096

// newSchedule lists indexes of members, each in proportion to its weight and
// evenly spread, servers of weight zero not at all. A walk round the schedule
// is weighted round-robin; a random place in it is a random server by weight.
func newSchedule(members []*Server) []uint16 {
	weights := scheduleWeights(members)
	type slot struct {
		at     float64 // when in the round, from 0 to 1
		member uint16
	}
	var slots []slot
	for i, w := range weights {
		for k := range w {
			// In the middle of the k-th of w equal parts of the round.
			slots = append(slots, slot{at: (float64(k) + 0.5) / float64(w), member: uint16(i)})
		}
	}
	slices.SortStableFunc(slots, func(a, b slot) int { return cmp.Compare(a.at, b.at) })
	schedule := make([]uint16, len(slots))
	for i, s := range slots {
		schedule[i] = s.member
	}
	return schedule
}

// scheduleWeights returns how often each of members stands in the schedule.
func scheduleWeights(members []*Server) []int64 {
	weights := make([]int64, len(members))
	var common, total int64
	for i, s := range members {
		weights[i] = s.weight
		common = gcd(common, s.weight)
	}
	for i := range weights {
		if common > 0 {
			weights[i] /= common
		}
		total += weights[i]
	}
	if limit := int64(max(maxSchedule, len(members))); total > limit {
		for i, w := range weights {
			if w > 0 {
				weights[i] = max(1, (w*limit+total/2)/total)
			}
		}
	}
	return weights
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
