// The RoadRunner peer: RoadRunner 2.3.2 with the plugins of its websockets and broadcast services, and the worker that
// its access checks need, which allows everything.
//
//	roadrunner CONFIG   serves
//	roadrunner worker   is the worker
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	endure "github.com/spiral/endure/pkg/container"
	"github.com/spiral/goridge/v3/pkg/frame"
	"github.com/spiral/goridge/v3/pkg/pipe"
	"github.com/spiral/roadrunner/v2/plugins/broadcast"
	"github.com/spiral/roadrunner/v2/plugins/config"
	"github.com/spiral/roadrunner/v2/plugins/http"
	"github.com/spiral/roadrunner/v2/plugins/logger"
	"github.com/spiral/roadrunner/v2/plugins/memory"
	"github.com/spiral/roadrunner/v2/plugins/redis"
	"github.com/spiral/roadrunner/v2/plugins/rpc"
	"github.com/spiral/roadrunner/v2/plugins/server"
	"github.com/spiral/roadrunner/v2/plugins/websockets"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: roadrunner CONFIG|worker")
		os.Exit(2)
	}
	run := serve
	if os.Args[1] == "worker" {
		run = work
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve() error {
	container, err := endure.NewContainer(nil, endure.SetLogLevel(endure.ErrorLevel))
	if err != nil {
		return err
	}
	err = container.RegisterAll(
		&config.Viper{Path: os.Args[1], Prefix: "rr"},
		&rpc.Plugin{},
		&logger.ZapLogger{},
		&server.Plugin{},
		&http.Plugin{},
		&memory.Plugin{},
		&redis.Plugin{},
		&broadcast.Plugin{},
		&websockets.Plugin{},
	)
	if err != nil {
		return err
	}
	if err = container.Init(); err != nil {
		return err
	}
	failures, err := container.Serve()
	if err != nil {
		return err
	}
	end := make(chan os.Signal, 1)
	signal.Notify(end, os.Interrupt, syscall.SIGTERM)
	select {
	case failure := <-failures:
		return failure.Error
	case <-end:
		return container.Stop()
	}
}

// work answers every request with status 200.
func work() error {
	relay := pipe.NewPipeRelay(os.Stdin, os.Stdout)
	for {
		request := frame.NewFrame()
		if err := relay.Receive(request); err != nil {
			return err
		}
		reply := frame.NewFrame()
		reply.WriteVersion(frame.VERSION_1)
		var payload []byte
		if request.ReadFlags()&frame.CONTROL != 0 {
			var control struct {
				Stop bool `json:"stop"`
			}
			if json.Unmarshal(request.Payload(), &control) == nil && control.Stop {
				return nil
			}
			reply.WriteFlags(frame.CONTROL)
			payload = []byte(fmt.Sprintf(`{"pid":%d}`, os.Getpid()))
		} else {
			payload = []byte(`{"status":200}`)
			reply.WriteOptions(uint32(len(payload)))
		}
		reply.WritePayloadLen(uint32(len(payload)))
		reply.WritePayload(payload)
		reply.WriteCRC()
		if err := relay.Send(reply); err != nil {
			return err
		}
	}
}
