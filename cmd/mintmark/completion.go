package main

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strings"
)

// The scripts ask this program for candidates, so they know the commands and
// flags of the version that is installed. Where there are none, the shell
// completes names of files.
const (
	bashCompletion = `# bash completion of mintmark
_mintmark() {
	local IFS=$'\n'
	COMPREPLY=($(compgen -W "$(mintmark completion candidates -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)" -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _mintmark mintmark
`
	zshCompletion = `#compdef mintmark
_mintmark() {
	local -a candidates
	candidates=("${(@f)$(mintmark completion candidates -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
	if [[ -n "$candidates" ]]; then compadd -a candidates; else _files; fi
}
compdef _mintmark mintmark
`
	fishCompletion = `# fish completion of mintmark
function __mintmark_candidates
	set -l words (commandline -opc) (commandline -ct)
	mintmark completion candidates -- $words[2..-1] 2>/dev/null
end
complete -c mintmark -a '(__mintmark_candidates)'
`
)

func completionCommand() *command {
	return &command{
		name:     "completion",
		synopsis: "bash|zsh|fish",
		short:    "print a script that completes commands and flags in a shell",
		long: `
Print a completion script. The shell then asks this program for what may come
next, so the script need not be made anew for another version.

"mintmark completion candidates -- WORD..." is what the scripts call: it prints
what the last word may become, a line each.`,
		examples: []example{
			{"for this shell", "source <(mintmark completion bash)"},
			{"for every bash", "mintmark completion bash > /etc/bash_completion.d/mintmark"},
			{"for zsh", "mintmark completion zsh > /usr/local/share/zsh/site-functions/_mintmark"},
			{"for fish", "mintmark completion fish > ~/.config/fish/completions/mintmark.fish"},
		},
		setup: func(*flag.FlagSet) runFunc {
			return func(_ context.Context, e *env, operands []string) error {
				if len(operands) == 0 {
					return usagef("completion needs a shell: bash, zsh or fish")
				}
				switch operands[0] {
				case "bash":
					fmt.Fprint(e.stdout, bashCompletion)
				case "zsh":
					fmt.Fprint(e.stdout, zshCompletion)
				case "fish":
					fmt.Fprint(e.stdout, fishCompletion)
				case "candidates":
					for _, c := range candidates(operands[1:]) {
						fmt.Fprintln(e.stdout, c)
					}
				default:
					return usagef("there is no completion for %s: write bash, zsh or fish", quote(operands[0]))
				}
				return nil
			}
		},
	}
}

// candidates are what the last of words may become.
func candidates(words []string) []string {
	if len(words) == 0 {
		words = []string{""}
	}
	before, last := words[:len(words)-1], words[len(words)-1]
	var all []string
	switch {
	case len(before) == 0:
		for _, c := range commands() {
			first, _, _ := strings.Cut(c.name, " ")
			all = append(all, first)
		}
		all = append(all, "help")
	case before[0] == "help":
		return candidates(append(slices.Clone(before[1:]), last))
	case len(before) == 1 && len(verbs(before[0])) > 0:
		all = verbs(before[0])
	case strings.HasPrefix(last, "-"):
		c, _ := lookUp(before[0], before[1:])
		if c == nil {
			return nil
		}
		fs := newFlagSet(c.name)
		c.setup(fs)
		fs.VisitAll(func(f *flag.Flag) { all = append(all, flagName(f)) })
	}
	all = slices.DeleteFunc(all, func(s string) bool { return !strings.HasPrefix(s, last) })
	slices.Sort(all)
	return slices.Compact(all)
}
