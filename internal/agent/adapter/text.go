package adapter

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// text writes a small file that holds a mark and no secret, for servers that
// put a constant into their IDs, and restarts or reloads them.
type text struct {
	Config
	wire    Wire
	content func(k Key) ([]byte, error)
}

func (a *text) Name() string { return a.Kind }

// Constraints: IDs of the space before are still accepted, because the mark
// decides nothing but where they go.
func (a *text) Constraints() Constraints { return Constraints{} }

func (a *text) Wire() Wire { return a.wire }

func (a *text) Apply(ctx context.Context, keys Keys) ([]Key, error) {
	content, err := a.content(keys.Encrypt)
	if err != nil {
		return nil, err
	}
	if _, err := a.install(ctx, []file{{path: a.File, content: content, public: true}}, keys.Again); err != nil {
		return nil, err
	}
	return append([]Key{keys.Encrypt}, keys.Decrypt...), nil
}

// OldGone: the reload command returns when the server has restarted.
func (a *text) OldGone(context.Context) (bool, error) { return true, nil }

var errNoPrefix = errors.New("the space of this server holds no constant prefix: use the scheme ranges or bits")

// prefixFile is the bytes that session IDs begin with, in hexadecimal, for
// whatever starts the server: openssl s_server's -id_prefix takes them as text.
func prefixFile(k Key) ([]byte, error) {
	if len(k.Prefix) == 0 {
		return nil, errNoPrefix
	}
	return []byte(hex.EncodeToString(k.Prefix) + "\n"), nil
}

// tomcatFile is a line for bin/setenv.sh, or Debian's /etc/default, to read: the
// name that Tomcat and its kin put behind each session ID.
func tomcatFile(k Key) ([]byte, error) {
	if k.Text == "" {
		return nil, errors.New("the space of this server has no text form")
	}
	return []byte("jvmRoute=" + k.Text + "\n"), nil
}

// awsServerIDSize is that of AWS_LBC_QUIC_SERVER_ID, in bytes. The AWS Load
// Balancer Controller writes it in base64, so that is what servers read; only
// the registration of a target has it as 0x and hexadecimal digits.
const awsServerIDSize = 8

// envFile is an environment file, as systemd and shells read it.
func envFile(k Key) ([]byte, error) {
	var b strings.Builder
	b.WriteString("# Written by mintmark agent.\n")
	fmt.Fprintf(&b, "MINTMARK_GENERATION=%d\n", k.Generation)
	fmt.Fprintf(&b, "MINTMARK_KEY_NAME=%x\n", k.Name)
	fmt.Fprintf(&b, "MINTMARK_TEXT=%s\n", k.Text)
	if k.Number != 0 {
		fmt.Fprintf(&b, "MINTMARK_SERVER_NUMBER=%d\n", k.Number)
	}
	if len(k.Prefix) > 0 {
		fmt.Fprintf(&b, "MINTMARK_PREFIX=%x\n", k.Prefix)
	}
	if len(k.Prefix) == awsServerIDSize {
		fmt.Fprintf(&b, "AWS_LBC_QUIC_SERVER_ID=%s\n", base64.StdEncoding.EncodeToString(k.Prefix))
	}
	return []byte(b.String()), nil
}
