package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/mintmark/mintmark/internal/control/access/join"
)

func loginCommand() *command {
	return &command{
		name:     "login",
		synopsis: "URL [--token-file FILE]",
		short:    "log in at a control plane, with a token",
		long: `
Exchange a token for a certificate, which the other commands use from then on
and renew by themselves. The token is read from standard input, or from a file;
it works once. The first start of a control plane prints one for its first
admin; others come from "mintmark token create admin NAME".

The certificate is kept in $MINTMARK_HOME, by default the directory mintmark
among the user's configuration files. The token carries the fingerprint of the
control plane's authority, so nothing else has to be trusted or copied.

Programs that cannot keep a certificate put the path of a reusable token in
$MINTMARK_TOKEN_FILE instead, and the URL in $MINTMARK_CONTROL.`,
		examples: []example{
			{"paste the token", "mintmark login https://127.0.0.1:7070"},
			{"take it from a file", "mintmark login https://10.0.0.1:7070 --token-file admin.token"},
		},
		setup: func(fs *flag.FlagSet) runFunc {
			file := fs.String("token-file", "", "`FILE` with the token (default standard input)")
			return func(ctx context.Context, e *env, operands []string) error {
				if err := needOperands(operands, "URL"); err != nil {
					return err
				}
				url, err := controlURL(operands[0])
				if err != nil {
					return err
				}
				token, err := readToken(e, *file)
				if err != nil {
					return err
				}
				return login(ctx, e, url, token)
			}
		},
	}
}

func readToken(e *env, file string) (join.Token, error) {
	var text string
	if file != "" {
		b, err := os.ReadFile(file)
		if err != nil {
			return join.Token{}, fmt.Errorf("reading the token: %w", err)
		}
		text = string(b)
	} else {
		fmt.Fprint(e.stderr, "Token: ")
		line, err := bufio.NewReader(e.stdin).ReadString('\n')
		if err != nil && line == "" {
			return join.Token{}, fmt.Errorf("reading the token from standard input: %w", err)
		}
		text = line
	}
	return join.ParseToken(text)
}

func login(ctx context.Context, e *env, url string, token join.Token) error {
	if token.Role != "admin" && token.Role != "viewer" {
		return withHint(fmt.Errorf("this token is for the role %s, which does not log in", token.Role),
			"put it in the file that token_file names")
	}
	dir, err := loginDir()
	if err != nil {
		return err
	}
	creds, err := join.Join(ctx, url, dir, token)
	if err != nil {
		return callError(err)
	}
	if err := os.WriteFile(filepath.Join(dir, urlFile), []byte(url+"\n"), 0o600); err != nil {
		return errors.Join(errors.New("keeping the URL"), err)
	}
	fmt.Fprintf(e.stderr, "Logged in at %s as %s.\n", url, strings.TrimSpace(creds.Subject()))
	return nil
}
