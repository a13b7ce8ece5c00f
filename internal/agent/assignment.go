package agent

import (
	"encoding/hex"
	"slices"

	mintmarkv1 "github.com/mintmark/mintmark/api/mintmark/v1"
	"github.com/mintmark/mintmark/internal/agent/adapter"
)

// work is an assignment made ready for the server.
type work struct {
	version uint64
	keys    adapter.Keys
	// mints is the generation that it may mint now; false: none yet.
	mints   uint32
	minting bool
	// installed: the server has the keys.
	installed bool
}

// ready makes the keys of an assignment: its own from the keyring, which makes
// those that are missing, and its partners' as far as they have come.
func (k *keyring) ready(a *mintmarkv1.Assignment) (*work, error) {
	var names []string
	for _, key := range a.GetKeys() {
		if key.GetOwner() == a.GetServer() {
			names = append(names, hex.EncodeToString(key.GetKeyName()))
		}
	}
	if err := k.keep(names); err != nil {
		return nil, err
	}
	w := &work{version: a.GetVersion()}
	w.keys.Encrypt = k.spare()
	for _, key := range a.GetKeys() {
		if len(key.GetKeyName()) != adapter.NameSize {
			continue // of another kind of assignment
		}
		out := adapter.Key{
			Owner: key.GetOwner(), Generation: uint64(key.GetGeneration()), Name: key.GetKeyName(),
			Prefix: key.GetPrefix(), Text: key.GetText(), Number: key.GetServerNumber(), Own: key.GetOwner() == a.GetServer(),
		}
		if out.Own {
			out.Secret = k.doc.Secrets[hex.EncodeToString(key.GetKeyName())]
		} else {
			if len(key.GetSealed()) == 0 {
				continue // the partner has not sent it yet
			}
			var err error
			if out.Secret, err = k.open(key.GetSealed()); err != nil {
				return nil, err
			}
		}
		if out.Own && key.GetUse() == mintmarkv1.KeyUse_KEY_USE_ENCRYPT {
			w.keys.Encrypt, w.mints, w.minting = out, key.GetGeneration(), true
			continue
		}
		w.keys.Decrypt = append(w.keys.Decrypt, out)
	}
	return w, nil
}

// sealedFor are the server's own keys, sealed to each partner. A key is sealed
// anew when that partner's recipient is another than before.
func (k *keyring) sealedFor(a *mintmarkv1.Assignment) ([]*mintmarkv1.KeyForPartner, error) {
	var out []*mintmarkv1.KeyForPartner
	var partners []string
	for partner := range a.GetPartnerRecipients() {
		partners = append(partners, partner)
	}
	slices.Sort(partners)
	for _, key := range a.GetKeys() {
		secret := k.doc.Secrets[hex.EncodeToString(key.GetKeyName())]
		if key.GetOwner() != a.GetServer() || secret == nil {
			continue
		}
		for _, partner := range partners {
			sealed, err := seal(secret, a.GetPartnerRecipients()[partner])
			if err != nil {
				return nil, err
			}
			out = append(out, &mintmarkv1.KeyForPartner{
				Partner: partner, Generation: key.GetGeneration(), Sealed: sealed, Recipient: a.GetPartnerRecipients()[partner],
			})
		}
	}
	return out, nil
}

// holds are keys as a report names them.
func holds(keys []adapter.Key) []*mintmarkv1.HeldKey {
	var out []*mintmarkv1.HeldKey
	for _, k := range keys {
		if k.Owner == spareOwner {
			continue
		}
		out = append(out, &mintmarkv1.HeldKey{Owner: k.Owner, Generation: uint32(k.Generation)}) //nolint:gosec // it came as one
	}
	return out
}
