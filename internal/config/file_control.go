package config

// FileControl is the control plane: one in this process (`listen`, `store`), or
// one elsewhere that this balancer gets its pools from (`connect`).
type FileControl struct {
	// The address of the API: `127.0.0.1:7070`. Required for a control plane
	// in this process.
	Listen string `yaml:"listen"`
	// Where its state is kept: a file, relative to the directory of this one,
	// or `etcd://host:2379,host2:2379/prefix`. Required with `listen`.
	Store string `yaml:"store"`
	// The file with the key that secrets in the store are encrypted with; made
	// on first start, mode 0600. Default: the store's path with `.key` behind
	// it; required with etcd.
	KeyFile string `yaml:"key_file"`
	// The DNS names and IP addresses in the API's certificate. Members check
	// its authority, which is pinned by their token, so these matter to
	// browsers and other programs only. Default: localhost, the loopback
	// addresses, and the host of `listen`.
	Names []string `yaml:"names,one"`
	// Whether the API speaks TLS, with a certificate of its own authority.
	// `off` is only possible on a loopback address, where nobody can join.
	// Default: on.
	TLS string `yaml:"tls" choices:"on,off"`
	// The control plane to get the pools from: `https://10.0.0.1:7070`, or a
	// list of several that share a store; the first that answers is used.
	// Required without `listen`.
	Connect []string `yaml:"connect,one"`
	// The certificate of the control plane's authority, a PEM file, relative
	// to the directory of this file. The join token pins it anyway.
	CA string `yaml:"ca"`
	// The file with the join token of this balancer (`mintmark token create
	// balancer NAME`), relative to the directory of this file. It is read once,
	// while there is no certificate yet. Required with `connect`.
	TokenFile string `yaml:"token_file"`
	// The file that keeps the last pools, relative to the directory of this
	// file. Beside it, with `.credentials` behind the name, is the directory
	// of this balancer's certificate.
	// Default: snapshot.
	Cache string `yaml:"cache"`
	// The name of the balancer in this process, beside a control plane.
	// Default: the name of the host.
	Name string `yaml:"name"`
}
