package route

import "testing"

func TestAddressString(t *testing.T) {
	t.Parallel()
	for want, a := range map[string]Address{
		"127.0.0.1:9001":          {Network: "tcp", Host: "127.0.0.1", Port: 9001},
		"[2001:db8::1]:443":       {Network: "tcp", Host: "2001:db8::1", Port: 443},
		"backend.example.com:443": {Network: "tcp", Host: "backend.example.com", Port: 443},
		"unix:/run/app.sock":      {Network: "unix", Host: "/run/app.sock"},
		"unix:@abstract":          {Network: "unix", Host: "@abstract"},
	} {
		if got := a.String(); got != want {
			t.Errorf("%#v.String() = %q; want %q", a, got, want)
		}
	}
}
