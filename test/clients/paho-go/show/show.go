// Package show prints what a client saw, a JSON object a line, and waits for it.
package show

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

var (
	lock    sync.Mutex
	now     string
	lines   []string
	changed = make(chan struct{})
)

// More is what an event has beside its case, its name and its client.
type More map[string]any

// Event prints a line.
func Event(event, client string, more More) {
	lock.Lock()
	defer lock.Unlock()
	object := More{"case": now, "event": event, "client": client}
	for key, value := range more {
		object[key] = value
	}
	line, err := json.Marshal(object)
	Check(err)
	fmt.Println(string(line))
	lines = append(lines, string(line))
	close(changed)
	changed = make(chan struct{})
}

// Wait returns when so many lines of this case have all the parts.
func Wait(count int, parts ...string) {
	deadline := time.After(10 * time.Second)
	for {
		lock.Lock()
		found, next := 0, changed
		for _, line := range lines {
			all := true
			for _, part := range parts {
				all = all && strings.Contains(line, part)
			}
			if all {
				found++
			}
		}
		lock.Unlock()
		if found >= count {
			return
		}
		select {
		case <-next:
		case <-deadline:
			Check(fmt.Errorf("%s: %d of %v", now, count, parts))
		}
	}
}

// Check ends the program when there is an error.
func Check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// Run runs the cases named by the arguments after host, port and version.
func Run(all map[string]func()) {
	for _, name := range os.Args[4:] {
		lock.Lock()
		now, lines = name, nil
		lock.Unlock()
		all[name]()
		Event("end", "", nil)
	}
}

// Die ends the program as a crash does.
func Die() {
	Event("end", "", nil)
	process, err := os.FindProcess(os.Getpid())
	Check(err)
	Check(process.Kill())
	select {}
}
