package mint_test

import (
	"context"
	"crypto/tls"
	"net/http"

	"github.com/alexedwards/scs/v2"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/mintmark/mintmark/mint"
	"github.com/mintmark/mintmark/mint/control"
)

// A Go server whose sessions come home: its tickets begin with its mark.
func ExampleClient_TLSConfig() {
	source, err := control.New(control.Config{
		URLs: []string{"https://10.0.0.1:7070"}, TokenFile: "join.token", Dir: "credentials",
	})
	if err != nil {
		panic(err)
	}
	client, err := mint.Open(mint.Config{State: "mint.json", Source: source})
	if err != nil {
		panic(err)
	}
	go func() { _ = client.Run(context.Background()) }()
	server := &http.Server{Addr: ":443", TLSConfig: client.TLSConfig(&tls.Config{})}
	panic(server.ListenAndServeTLS("server.pem", "server.key"))
}

// Session IDs of the application, which balancers route by.
func ExampleClient_NewID() {
	client, err := mint.Open(mint.Config{State: "mint.json"}) // without a control plane
	if err != nil {
		panic(err)
	}
	http.HandleFunc("/login", func(w http.ResponseWriter, _ *http.Request) {
		id, err := client.NewID()
		if err != nil {
			http.Error(w, "try again", http.StatusServiceUnavailable)
			return
		}
		http.SetCookie(w, &http.Cookie{Name: "sid", Value: id, HttpOnly: true, Secure: true})
	})
}

// A server of the Model Context Protocol has a hook for its session IDs.
func ExampleClient_ID() {
	client, err := mint.Open(mint.Config{State: "mint.json"})
	if err != nil {
		panic(err)
	}
	server := mcp.NewServer(&mcp.Implementation{Name: "tools"}, &mcp.ServerOptions{GetSessionID: client.ID})
	http.Handle("/mcp", mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server }, nil))
}

// A session library that makes its tokens itself: its cookie gets a mark.
func ExampleClient_CookieHandler() {
	client, err := mint.Open(mint.Config{State: "mint.json"})
	if err != nil {
		panic(err)
	}
	sessions := scs.New()
	mux := http.NewServeMux()
	mux.HandleFunc("/login", func(_ http.ResponseWriter, r *http.Request) {
		sessions.Put(r.Context(), "user", "Ada")
	})
	server := &http.Server{
		Addr:    ":8080",
		Handler: client.CookieHandler(sessions.Cookie.Name, sessions.LoadAndSave(mux)),
	}
	panic(server.ListenAndServe())
}
