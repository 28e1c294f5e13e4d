// Package process is named as RoadRunner's is: gob writes the name of a type with its package.
package process

// State has the fields of both of RoadRunner's, less Status, which is a text in the older one and a number in the newer one.
type State struct {
	Pid         int
	NumJobs     uint64
	NumExecs    uint64
	Created     int64
	MemoryUsage uint64
	CPUPercent  float64
	Command     string
	StatusStr   string
}
