// mochi-mqtt, in memory, for the bench: on TCP and WebSocket, and nothing is refused to anybody.
//
//	mochi -port 1883 -websocket 8083
package main

import (
	"flag"
	"fmt"
	"log/slog"
	"math"
	"os"
	"os/signal"
	"syscall"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"
)

func run() error {
	port := flag.Int("port", 1883, "port of MQTT on the loopback interface")
	websocket := flag.Int("websocket", 8083, "port of MQTT over WebSocket on the loopback interface")
	flag.Parse()

	capabilities := mqtt.NewDefaultServerCapabilities()
	// As many as there are packet ids: the default of 8,192 would drop messages of the bench that wait for a session.
	capabilities.MaximumInflight = math.MaxUint16
	server := mqtt.New(&mqtt.Options{
		Capabilities: capabilities,
		Logger:       slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
	})
	if err := server.AddHook(new(auth.AllowHook), nil); err != nil {
		return err
	}
	address := func(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
	if err := server.AddListener(listeners.NewTCP(listeners.Config{ID: "tcp", Address: address(*port)})); err != nil {
		return err
	}
	if err := server.AddListener(listeners.NewWebsocket(listeners.Config{ID: "websocket", Address: address(*websocket)})); err != nil {
		return err
	}
	if err := server.Serve(); err != nil {
		return err
	}

	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	<-stop
	return nil
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "mochi: "+err.Error())
		os.Exit(1)
	}
}
