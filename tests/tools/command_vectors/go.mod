module roadcast/command_vectors

go 1.20

// What RoadRunner 2.11 reads commands with.
require github.com/goccy/go-json v0.9.11
