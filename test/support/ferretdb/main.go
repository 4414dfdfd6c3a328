// A MongoDB-speaking server for the tests: FerretDB 1.24.2 on SQLite files, embedded, because its own command cannot be
// installed with `go install` (the module lacks build/version/version.txt).
//
//	ferretdb -listen 127.0.0.1:27117 -state /some/folder [-sync full|normal]
//
// Prints `ready mongodb://127.0.0.1:27117/` on standard output once it listens; stops on SIGTERM and SIGINT. What is in
// the folder outlives a kill -9. FerretDB itself listens on another port of the loopback interface: see front.go. With `-sync full` every write is on disk (fsync) before it is answered; with `normal`
// it has been given to the operating system only, which is enough against the death of this process.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/FerretDB/FerretDB/ferretdb"
)

func run() error {
	listen := flag.String("listen", "127.0.0.1:0", "address and port to listen on")
	state := flag.String("state", "", "folder for the database's files")
	sync := flag.String("sync", "full", "`full`: fsync before an answer; `normal`: survives the process, not the power")
	verbose := flag.Bool("verbose", false, "log every command to standard error")
	flag.Parse()

	if *state == "" {
		return errors.New("-state is needed")
	}
	if *sync != "full" && *sync != "normal" {
		return fmt.Errorf("-sync is full or normal, not %q", *sync)
	}
	folder, err := filepath.Abs(*state)
	if err != nil {
		return err
	}
	if err = os.MkdirAll(folder, 0o700); err != nil {
		return err
	}

	level := slog.LevelError
	if *verbose {
		level = slog.LevelDebug
	}
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	f, err := ferretdb.New(&ferretdb.Config{
		Listener:  ferretdb.ListenerConfig{TCP: "127.0.0.1:0"},
		Logger:    slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})),
		Handler:   "sqlite",
		SQLiteURL: "file:" + folder + "/?_pragma=synchronous(" + *sync + ")",
	})
	if err != nil {
		return err
	}

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()

	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()

	// Waits until FerretDB has its port.
	behind, err := url.Parse(f.MongoDBURI())
	if err != nil {
		return err
	}
	go serve(listener, behind.Host)
	fmt.Println("ready mongodb://" + listener.Addr().String() + "/")

	return <-done
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "ferretdb: "+err.Error())
		os.Exit(1)
	}
}
