// What compare.py measures the service beside, and what stands around it, as one program:
//
//	peers authz ADDRESS [TOKEN_URL]   a grpc-go server for ext_authz that allows everything; below /exchange by a token request of net/http
//	peers token ADDRESS               a token endpoint that answers at once
//	peers echo ADDRESS                an upstream
//	peers load URL RATE SECONDS USERS HEADER...   GET requests at a fixed rate, and their latencies as JSON
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
)

// Of tokens, as issuers write them: a header, claims and a signature of RSA.
const tokenBytes = 900

const accessToken = "urn:ietf:params:oauth:token-type:access_token"

// authz

type authz struct {
	auth.UnimplementedAuthorizationServer
	tokenURL string
	client   http.Client
}

func (a *authz) Check(ctx context.Context, check *auth.CheckRequest) (*auth.CheckResponse, error) {
	request := check.GetAttributes().GetRequest().GetHttp()
	ok := &auth.OkHttpResponse{}
	if a.tokenURL != "" && strings.HasPrefix(request.GetPath(), "/exchange") {
		subject, found := strings.CutPrefix(request.GetHeaders()["authorization"], "Bearer ")
		if !found {
			return &auth.CheckResponse{Status: &status.Status{Code: int32(codes.Unauthenticated)}}, nil
		}
		token, err := a.exchange(ctx, subject)
		if err != nil {
			return &auth.CheckResponse{Status: &status.Status{Code: int32(codes.Internal)}}, nil
		}
		ok.Headers = []*core.HeaderValueOption{{
			Header:       &core.HeaderValue{Key: "authorization", Value: "Bearer " + token},
			AppendAction: core.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
		}}
	}
	return &auth.CheckResponse{Status: &status.Status{}, HttpResponse: &auth.CheckResponse_OkResponse{OkResponse: ok}}, nil
}

func (a *authz) exchange(ctx context.Context, subject string) (string, error) {
	form := url.Values{
		"grant_type":         {"urn:ietf:params:oauth:grant-type:token-exchange"},
		"subject_token":      {subject},
		"subject_token_type": {accessToken},
		"scope":              {"read"},
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, a.tokenURL, strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth("a", "b")
	response, err := a.client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return "", err
	}
	var issued struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(body, &issued); err != nil {
		return "", err
	}
	if response.StatusCode != http.StatusOK || issued.AccessToken == "" {
		return "", errors.New("no token")
	}
	return issued.AccessToken, nil
}

func serveAuthz(address, tokenURL string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	transport := &http.Transport{MaxIdleConns: 1000, MaxIdleConnsPerHost: 1000}
	auth.RegisterAuthorizationServer(server, &authz{tokenURL: tokenURL, client: http.Client{Transport: transport, Timeout: time.Second}})
	return server.Serve(listener)
}

// token, echo

func serveTokens(address string) error {
	body := fmt.Sprintf(`{"access_token":"%s","token_type":"Bearer","expires_in":3600,"issued_token_type":"%s"}`,
		strings.Repeat("y", tokenBytes), accessToken)
	return http.ListenAndServe(address, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, body)
	}))
}

func serveEcho(address string) error {
	return http.ListenAndServe(address, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") }))
}

// load

type measured struct {
	P50    float64        `json:"p50_ms"`
	P99    float64        `json:"p99_ms"`
	Status map[string]int `json:"status"`
}

// load counts each request's time from when it was due, so that a server that stalls is charged for all who wait.
func load(target string, rate, seconds, users int, headers []string) (*measured, error) {
	transport := &http.Transport{MaxIdleConns: 1000, MaxIdleConnsPerHost: 1000}
	client := http.Client{Transport: transport, Timeout: 5 * time.Second}
	count := rate * seconds
	taken := make([]float64, count)
	found := &measured{Status: map[string]int{}}
	var lock sync.Mutex
	var all sync.WaitGroup
	began := time.Now()
	for number := range count {
		due := began.Add(time.Duration(number) * time.Second / time.Duration(rate))
		time.Sleep(time.Until(due))
		all.Go(func() {
			said := "none"
			request, err := http.NewRequest(http.MethodGet, target, nil)
			if err != nil {
				log.Fatal(err)
			}
			for _, header := range headers {
				name, value, _ := strings.Cut(header, ": ")
				if name == "host" {
					request.Host = value
				}
				request.Header.Set(name, value)
			}
			if users > 0 {
				request.Header.Set("authorization", fmt.Sprintf("Bearer %s.%08d", strings.Repeat("x", tokenBytes), number%users))
			}
			if response, err := client.Do(request); err == nil {
				io.Copy(io.Discard, response.Body)
				response.Body.Close()
				said = strconv.Itoa(response.StatusCode)
			}
			taken[number] = float64(time.Since(due)) / float64(time.Millisecond)
			lock.Lock()
			defer lock.Unlock()
			found.Status[said]++
		})
	}
	all.Wait()
	slices.Sort(taken)
	found.P50, found.P99 = taken[count/2], taken[count*99/100]
	return found, nil
}

func run(arguments []string) error {
	switch {
	case len(arguments) == 2 && arguments[0] == "authz":
		return serveAuthz(arguments[1], "")
	case len(arguments) == 3 && arguments[0] == "authz":
		return serveAuthz(arguments[1], arguments[2])
	case len(arguments) == 2 && arguments[0] == "token":
		return serveTokens(arguments[1])
	case len(arguments) == 2 && arguments[0] == "echo":
		return serveEcho(arguments[1])
	case len(arguments) >= 5 && arguments[0] == "load":
		var numbers [3]int
		for at := range numbers {
			number, err := strconv.Atoi(arguments[2+at])
			if err != nil {
				return err
			}
			numbers[at] = number
		}
		found, err := load(arguments[1], numbers[0], numbers[1], numbers[2], arguments[5:])
		if err != nil {
			return err
		}
		return json.NewEncoder(os.Stdout).Encode(found)
	}
	return errors.New("usage: peers authz|token|echo|load …, see main.go")
}

func main() {
	log.SetFlags(0)
	if err := run(os.Args[1:]); err != nil {
		log.Fatal(err)
	}
}
