package main

import (
	"context"
	"debug/buildinfo"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/mintmark/mintmark/bench/internal/process"
	"github.com/mintmark/mintmark/bench/internal/report"
)

// machine describes where a result is from. What cannot be found out is "?":
// no measurement fails for it.
func machine(ctx context.Context, mintmark string) report.Machine {
	return report.Machine{
		Date:   time.Now().UTC().Format(time.DateOnly),
		CPU:    first("/proc/cpuinfo", regexp.MustCompile(`(?m)^model name\s*:\s*(.+)$`)),
		Cores:  runtime.NumCPU(),
		Kernel: first("/proc/sys/kernel/osrelease", regexp.MustCompile(`^(\S+)`)),
		Load:   first("/proc/loadavg", regexp.MustCompile(`^(\S+)`)),
		Versions: map[string]string{
			"Go":       strings.TrimPrefix(runtime.Version(), "go"),
			"Mintmark": revision(ctx, mintmark),
			"HAProxy":  version(ctx, "haproxy", regexp.MustCompile(`version (\S+)`)),
			"nginx":    version(ctx, "nginx", regexp.MustCompile(`nginx/(\S+)`)),
		},
	}
}

const unknown = "?"

// first returns the first group of a pattern in a file.
func first(file string, pattern *regexp.Regexp) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return unknown
	}
	return match(string(text), pattern)
}

func match(text string, pattern *regexp.Regexp) string {
	if m := pattern.FindStringSubmatch(text); m != nil {
		return m[1]
	}
	return unknown
}

// version returns what a product says of itself with -v.
func version(ctx context.Context, name string, pattern *regexp.Regexp) string {
	path, err := process.Find(name)
	if err != nil {
		return unknown
	}
	out, err := exec.CommandContext(ctx, path, "-v").CombinedOutput()
	if err != nil {
		return unknown
	}
	return match(string(out), pattern)
}

// revision returns the commit that a binary was built from: what it says
// itself, or else the commit of the tree that is here.
func revision(ctx context.Context, binary string) string {
	const short = 12
	if info, err := buildinfo.ReadFile(binary); err == nil {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return fmt.Sprintf("%.*s", short, s.Value)
			}
		}
	}
	out, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty", "--exclude", "*", "--abbrev="+strconv.Itoa(short)).Output()
	if err != nil {
		return unknown
	}
	return strings.TrimSpace(string(out))
}
