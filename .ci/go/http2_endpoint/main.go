// A token endpoint over HTTP/2, by Go's net/http: what tests of our client talk to. It answers a request with the request's own body.
//
// Usage: http2-endpoint CERTIFICATE KEY. It prints its address, and ends gracefully when its input does.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"
)

func read(request *http.Request) []byte {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	return body
}

func token(answer http.ResponseWriter, request *http.Request) {
	body := read(request)
	if wait, err := time.ParseDuration(request.URL.Query().Get("wait")); err == nil {
		select {
		case <-time.After(wait):
		case <-request.Context().Done():
			return
		}
	}
	answer.Header().Set("Content-Type", "application/json")
	answer.Header().Set("X-Protocol", request.Proto)
	answer.Write(body)
}

func large(answer http.ResponseWriter, request *http.Request) {
	size, _ := strconv.Atoi(request.URL.Query().Get("bytes"))
	piece := make([]byte, 5000)
	for size > 0 {
		written, err := answer.Write(piece[:min(size, len(piece))])
		if err != nil {
			return
		}
		size -= written
	}
}

func early(answer http.ResponseWriter, _ *http.Request) {
	answer.Header().Set("WWW-Authenticate", `Basic realm="issuer"`)
	answer.Header().Set("Retry-After", "7")
	answer.WriteHeader(http.StatusUnauthorized)
	io.WriteString(answer, "early")
}

func hints(answer http.ResponseWriter, request *http.Request) {
	body := read(request)
	for i := 0; i < 2; i++ {
		answer.WriteHeader(http.StatusEarlyHints)
	}
	answer.Write(body)
}

func trailers(answer http.ResponseWriter, request *http.Request) {
	body := read(request)
	answer.Header().Set("Trailer", "X-Checksum")
	answer.Write(body)
	answer.Header().Set("X-Checksum", "1")
}

func half(answer http.ResponseWriter, _ *http.Request) {
	io.WriteString(answer, "half")
	answer.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

func nothing(http.ResponseWriter, *http.Request) {
	panic(http.ErrAbortHandler)
}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/token", token)
	mux.HandleFunc("/large", large)
	mux.HandleFunc("/early", early)
	mux.HandleFunc("/hints", hints)
	mux.HandleFunc("/trailers", trailers)
	mux.HandleFunc("/half", half)
	mux.HandleFunc("/nothing", nothing)
	mux.Handle("/redirect", http.RedirectHandler("https://elsewhere.example.com/", http.StatusTemporaryRedirect))
	server := &http.Server{Handler: mux, ErrorLog: log.New(io.Discard, "", 0)}
	go func() {
		fmt.Println(listener.Addr())
		io.Copy(io.Discard, os.Stdin)
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		server.Shutdown(ctx)
		os.Exit(0)
	}()
	if err := server.ServeTLS(listener, os.Args[1], os.Args[2]); err != http.ErrServerClosed {
		log.Fatal(err)
	}
	select {}
}
