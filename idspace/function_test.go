package idspace

import (
	"math/big"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// firstByte is a Function: the first byte is the server number and the second,
// if there is one, the generation. It knows nothing of cookies.
type firstByte struct{}

func (firstByte) Lookup(field Field, id []byte) (server uint32, generation uint8, ok bool) {
	if len(id) == 0 || field == FieldCookie {
		return 0, 0, false
	}
	if len(id) > 1 {
		generation = id[1]
	}
	return uint32(id[0]), generation, true
}

// measuredByte is firstByte with shares.
type measuredByte struct{ firstByte }

func (measuredByte) Share(field Field, server uint32) *big.Rat {
	switch {
	case field == FieldCookie || server > 255:
		return nil
	case field == FieldPath: // only even numbers
		return big.NewRat(int64(1-server%2), 128)
	default:
		return big.NewRat(1, 256)
	}
}

func TestFunction(t *testing.T) {
	t.Parallel()
	table, err := CompileFunction(firstByte{}, map[uint32]Owner{9: "b", 3: "c", 200: "a", 7: "b"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Owner{"c", "b", "a"}, table.Owners()); diff != "" {
		t.Errorf("owners (-want +got):\n%s", diff)
	}
	if len(table.Rules()) != 0 {
		t.Errorf("got the rules %v; want none", table.Rules())
	}
	for _, test := range []struct {
		field Field
		id    []byte
		want  Match
		ok    bool
	}{
		{FieldTicket, []byte{3}, Match{Owner: 0, Rule: -1}, true},
		{FieldTicket, []byte{7, 5}, Match{Owner: 1, Rule: -1, Generation: 5}, true},
		{FieldTicket, []byte{9, 6}, Match{Owner: 1, Rule: -1, Generation: 6}, true},
		{FieldTicket, []byte{200}, Match{Owner: 2, Rule: -1}, true},
		{FieldTicket, []byte{4}, Match{}, false}, // a number of nobody
		{FieldTicket, nil, Match{}, false},
		{FieldCookie, []byte{3}, Match{}, false},
	} {
		if got, ok := table.Lookup(test.field, test.id); got != test.want || ok != test.ok {
			t.Errorf("Lookup(%v, %x) = %+v, %v; want %+v, %v", test.field, test.id, got, ok, test.want, test.ok)
		}
	}
}

func TestFunctionMistakes(t *testing.T) {
	t.Parallel()
	if _, err := CompileFunction(nil, nil); err == nil || !strings.Contains(err.Error(), "there is none") {
		t.Errorf("no function: got %v", err)
	}
	_, err := CompileFunction(firstByte{}, map[uint32]Owner{1: "a", 5: ""})
	if err == nil || !strings.Contains(err.Error(), "server number 5 has no owner") {
		t.Errorf("no owner: got %v", err)
	}
}

func TestFunctionShare(t *testing.T) {
	t.Parallel()
	owners := map[uint32]Owner{1: "a", 2: "b", 3: "a", 4: "b", 6: "b"}
	unknown, err := CompileFunction(firstByte{}, owners)
	if err != nil {
		t.Fatal(err)
	}
	everything := Share{Total: big.NewRat(1, 1)}
	checkShare(t, "unknown", unknown.Share(FieldTicket), everything)
	checkShare(t, "unknown, largest", unknown.LargestShare(), everything)
	if got := unknown.AssignedShare(FieldTicket); got != 1 {
		t.Errorf("unknown: got %v assigned; want 1", got)
	}
	measured, err := CompileFunction(measuredByte{}, owners)
	if err != nil {
		t.Fatal(err)
	}
	r := big.NewRat
	nothing := Share{Total: new(big.Rat), Owners: []*big.Rat{new(big.Rat), new(big.Rat)}}
	checkShare(t, "ticket", measured.Share(FieldTicket), Share{Total: r(5, 256), Owners: []*big.Rat{r(2, 256), r(3, 256)}})
	checkShare(t, "path", measured.Share(FieldPath), Share{Total: r(3, 128), Owners: []*big.Rat{r(0, 1), r(3, 128)}})
	checkShare(t, "path, length", measured.ShareOfLength(FieldPath, 9), Share{Total: r(3, 128), Owners: []*big.Rat{r(0, 1), r(3, 128)}})
	checkShare(t, "cookie", measured.Share(FieldCookie), nothing)
	checkShare(t, "none", measured.Share(FieldNone), nothing)
	checkShare(t, "largest", measured.LargestShare(), Share{Total: r(3, 128), Owners: []*big.Rat{r(2, 256), r(3, 128)}})
	for field, want := range map[Field]float64{FieldTicket: 5.0 / 256, FieldPath: 3.0 / 128, FieldCookie: 0, FieldNone: 0, fieldCount: 0} {
		if got := measured.AssignedShare(field); got != want {
			t.Errorf("%v: got %v assigned; want %v", field, got, want)
		}
	}
}

func checkShare(t testing.TB, name string, got, want Share) {
	t.Helper()
	equal := func(a, b *big.Rat) bool { return a.Cmp(b) == 0 }
	if diff := cmp.Diff(want, got, cmp.Comparer(equal)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}
