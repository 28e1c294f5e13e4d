module roadcast/operator_vectors

go 1.20

// What `rr` of RoadRunner 2 calls with.
require github.com/roadrunner-server/goridge/v3 v3.5.3

require (
	github.com/goccy/go-json v0.9.11 // indirect
	github.com/roadrunner-server/errors v1.2.0 // indirect
	github.com/vmihailenco/msgpack/v5 v5.3.5 // indirect
	github.com/vmihailenco/tagparser/v2 v2.0.0 // indirect
	google.golang.org/protobuf v1.28.1 // indirect
)
