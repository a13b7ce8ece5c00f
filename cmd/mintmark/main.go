// Command mintmark is a load balancer that routes by session IDs that servers
// mint. Each subcommand stands in a file of its own; `mintmark help` lists
// them.
package main

import (
	"context"
	"os"
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
