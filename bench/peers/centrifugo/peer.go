//go:build peers

// Package peer requires the server under comparison, so that `go build` of its package takes this module's versions.
package peer

import _ "github.com/centrifugal/centrifugo/v5"
