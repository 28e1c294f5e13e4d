// Writes down, a line of JSON each, what Go's gob makes of the calls of operators and of their answers: scripts/operator-vectors
// runs this. With an address it is the client instead: it calls a server as the `rr` binary does, and prints what it understood.
package main

import (
	"bytes"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/rpc"
	"os"
	"strings"

	goridge "github.com/roadrunner-server/goridge/v3/pkg/rpc"

	"roadcast/operator_vectors/process"
)

type WorkerList struct{ Workers []*process.State }

// OldState is api/v2/state/process.State up to 2.11.1, NewState the one of 2.11.2 and later, as their binaries read answers.
type OldState struct {
	Pid         int
	Status      string
	NumJobs     uint64
	Created     int64
	MemoryUsage uint64
	CPUPercent  float64
	Command     string
}

type NewState struct {
	Pid         int
	Status      int64
	NumExecs    uint64
	Created     int64
	MemoryUsage uint64
	CPUPercent  float64
	Command     string
	StatusStr   string
}

type OldList struct{ Workers []*OldState }
type NewList struct{ Workers []*NewState }

// Job is api/v2/plugins/jobs.State.
type Job struct {
	Pipeline string
	Driver   string
	Queue    string
	Active   int64
	Delayed  int64
	Reserved int64
	Ready    bool
}

type vector struct {
	Of    string `json:"of"`
	Value any    `json:"value"`
	Gob   string `json:"gob"`
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func encode(value any) []byte {
	var out bytes.Buffer
	check(gob.NewEncoder(&out).Encode(value))
	return out.Bytes()
}

func write(of string, value any) []byte {
	encoded := encode(value)
	line, err := json.Marshal(vector{of, value, hex.EncodeToString(encoded)})
	check(err)
	fmt.Println(string(line))
	return encoded
}

func main() {
	log.SetFlags(0)
	if len(os.Args) > 1 {
		ask(os.Args[1])
		return
	}
	write("bool", true)
	write("bool", false)
	for _, text := range []string{"", "websockets", "naïve", strings.Repeat("x", 127), strings.Repeat("x", 128), strings.Repeat("x", 300)} {
		write("string", text)
	}
	for _, texts := range [][]string{{}, {"websockets"}, {"broadcast", "websockets"}} {
		write("strings", texts)
	}
	write("jobs", []*Job(nil))
	write("workers", WorkerList{})
	one := process.State{Pid: 1, StatusStr: "ready", Created: 1669650000000000000}
	two := process.State{
		Pid: 4194304, NumJobs: 300, NumExecs: 300, Created: 1795918530123456789, MemoryUsage: 34603008,
		CPUPercent: 0.25, Command: "php worker.php", StatusStr: "working",
	}
	many := WorkerList{}
	for pid := 1; pid <= 130; pid++ {
		state := two
		state.Pid, state.CPUPercent = pid, 99.9
		many.Workers = append(many.Workers, &state)
	}
	for _, list := range []WorkerList{{[]*process.State{&one}}, {[]*process.State{&one, &two}}, many} {
		encoded := write("workers", list)
		// Both kinds of `rr` read it.
		var old OldList
		check(gob.NewDecoder(bytes.NewReader(encoded)).Decode(&old))
		var latest NewList
		check(gob.NewDecoder(bytes.NewReader(encoded)).Decode(&latest))
		for place, sent := range list.Workers {
			older, newer := old.Workers[place], latest.Workers[place]
			if *older != (OldState{sent.Pid, "", sent.NumJobs, sent.Created, sent.MemoryUsage, sent.CPUPercent, sent.Command}) ||
				*newer != (NewState{sent.Pid, 0, sent.NumExecs, sent.Created, sent.MemoryUsage, sent.CPUPercent, sent.Command, sent.StatusStr}) {
				log.Fatalf("read otherwise: %+v, %+v, %+v", sent, older, newer)
			}
		}
	}
}

// ask calls as `rr reset`, `rr workers` of the newer and of the older kind, and a mistake.
func ask(address string) {
	socket, err := net.Dial("tcp", address)
	check(err)
	client := rpc.NewClientWithCodec(goridge.NewClientCodec(socket))
	defer client.Close()
	said := map[string]any{}

	var resettable []string
	check(client.Call("resetter.List", true, &resettable))
	said["resettable"] = resettable
	for _, plugin := range resettable {
		var done bool
		check(client.Call("resetter.Reset", plugin, &done))
		said["reset "+plugin] = done
	}
	var done bool
	if err := client.Call("resetter.Reset", "http", &done); err != nil {
		said["reset http"] = err.Error()
	}

	var plugins []string
	check(client.Call("informer.List", true, &plugins))
	said["plugins"] = plugins
	for _, plugin := range plugins {
		list := &NewList{}
		check(client.Call("informer.Workers", plugin, &list))
		said["workers of "+plugin] = list.Workers
		old := &OldList{}
		check(client.Call("informer.Workers", plugin, &old))
		said["old workers of "+plugin] = old.Workers
		var jobs []*Job
		check(client.Call("informer.Jobs", plugin, &jobs))
		said["jobs of "+plugin] = jobs
	}
	check(json.NewEncoder(os.Stdout).Encode(said))
}
