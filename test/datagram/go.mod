module github.com/mintmark/mintmark/test/datagram

go 1.26.0

require (
	github.com/mintmark/mintmark v0.0.0
	github.com/mintmark/mintmark/mint/pion v0.0.0-00010101000000-000000000000
	github.com/mintmark/mintmark/mint/quicgo v0.0.0
	github.com/quic-go/quic-go v0.65.0
)

require (
	github.com/chromedp/cdproto v0.159.0 // indirect
	github.com/chromedp/chromedp v0.23.0 // indirect
	github.com/go-json-experiment/json v0.0.0-20260213210345-44df1a37e875 // indirect
	github.com/pion/logging v0.2.4 // indirect
	github.com/pion/transport/v5 v5.0.0 // indirect
	github.com/quic-go/qpack v0.6.0 // indirect
	golang.org/x/text v0.43.0 // indirect
)

require (
	github.com/pion/dtls/v3 v3.1.15
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/net v0.62.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
)

// Of this tree.
replace (
	github.com/mintmark/mintmark => ../..
	github.com/mintmark/mintmark/mint/pion => ../../mint/pion
	github.com/mintmark/mintmark/mint/quicgo => ../../mint/quicgo
)
