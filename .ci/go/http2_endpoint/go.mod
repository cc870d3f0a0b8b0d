// A token endpoint over HTTP/2 by Go's own server, for tests. It needs no other module.
module exchanger.test/http2-endpoint

go 1.21
